# SPDX-License-Identifier: MIT
"""Several vCPUs and several clients: who shares a channel takes turns, who has one of
its own does not, and every access is served exactly once.

Each vCPU writes 1, 2, 3 ... or adds up what it reads, and counts in RAM what it
has done. Device, guest and daemon must agree.
"""

import struct

import kvmcpu
import pytest
from devices import IDLE, PORT, SUMS, WAIT_TURN, Counter, Gate, counts, halted
from guests import EVERY_MODE
from harness import DEADLINE, LONG, eventually

N = 200
WRITE, READ = 0, 1  # loop.S's KIND


def check_counts(control, vcpus, n):
    """Guest and daemon count n accesses of each vCPU, and one halt."""
    assert counts(control, vcpus) == [n] * vcpus
    for vcpu in control.stats().vcpus:
        assert vcpu.num_io == n
        assert vcpu.num_halt == 1
        assert vcpu.num_vm_exits == n + 1 + vcpu.num_exit_signal
        assert vcpu.num_unclaimed == 0


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("vcpus", [1, 2, 8])
def test_one_shared_channel(start, guest, vcpus, mode):
    daemon = start(*guest("loop", mode, vcpus, PORT=PORT, KIND=WRITE, N=N), "--paused")
    counter, control = Counter(), daemon.control()
    daemon.serve(counter)
    control.resume()
    halted(control, LONG)
    assert counter.writes == {vcpu: list(range(1, N + 1)) for vcpu in range(vcpus)}
    check_counts(control, vcpus, N)


@pytest.mark.parametrize("vcpus", [2, 8])
def test_a_channel_for_each_vcpu(start, guest, vcpus):
    """Same port, but each vCPU's accesses reach the client that serves it."""
    daemon = start(*guest("loop", cpus=vcpus, PORT=PORT, KIND=READ, N=N), "--paused")
    control = daemon.control()
    counters = [Counter() for _ in range(vcpus)]
    for vcpu, counter in enumerate(counters):
        daemon.serve(counter, vcpus=[vcpu], name=f"device-{vcpu}")
    control.resume()
    halted(control, LONG)
    assert [counter.reads for counter in counters] == [{vcpu: N} for vcpu in range(vcpus)]
    sums = struct.unpack(f"<{vcpus}Q", control.read_memory(SUMS, 8 * vcpus))
    assert sums == (N * (N + 1) // 2,) * vcpus, "a vCPU got another's data"
    check_counts(control, vcpus, N)
    masks = {claim.client: claim.vcpu_mask for claim in control.clients().claims}
    assert masks == {f"device-{vcpu}": 1 << vcpu for vcpu in range(vcpus)}


def test_several_clients_with_claims_of_their_own(start, guest):
    """Eight vCPUs, each with a port of its own, four clients with two ports each."""
    class Two(kvmcpu.Device):
        def __init__(self, base):
            self.base, self.seen = base, []

        @kvmcpu.pio_write(0, 0)
        @kvmcpu.pio_write(1, 1)
        def write(self, access):
            self.seen.append((access.address, access.vcpu, access.value))

    daemon = start(*guest("loop", cpus=8, PORT=PORT, STRIDE=1, KIND=WRITE, N=N), "--paused")
    control = daemon.control()
    devices = [Two(PORT + base) for base in (0, 2, 4, 6)]
    for device in devices:
        daemon.serve(device)
    control.resume()
    halted(control, LONG)
    check_counts(control, 8, N)
    for index, device in enumerate(devices):
        for vcpu in (2 * index, 2 * index + 1):
            mine = [entry for entry in device.seen if entry[1] == vcpu]
            assert mine == [(PORT + vcpu, vcpu, value) for value in range(1, N + 1)]
        assert len(device.seen) == 2 * N
    assert {claim.writes for claim in control.stats().claims} == {N}


def test_an_overlap_is_refused_by_the_owners_name(start, guest):
    daemon = start(*guest("loop", PORT=PORT, KIND=WRITE, N=1), "--paused")
    daemon.serve(Counter(), name="first-owner")
    with pytest.raises(kvmcpu.Refused, match="first-owner"):
        kvmcpu.Server([Counter()], **daemon.where)


def test_who_waits_for_its_turn_says_so(start, guest):
    """A device that withholds one answer holds up the vCPUs behind it, visibly, and no others."""
    daemon = start(*guest("loop", cpus=3, PORT=PORT, KIND=WRITE, N=N), "--paused")
    gate, free, control = Gate(), Counter(), daemon.control()
    shared = daemon.serve(gate, vcpus=[0, 1], name="shared")
    daemon.serve(free, vcpus=[2])
    control.resume()
    assert gate.entered.wait(DEADLINE)
    status = control.wait_until(lambda s: s.vcpus[2].state == IDLE and WAIT_TURN in (
        s.vcpus[0].wait.cause, s.vcpus[1].wait.cause))
    assert free.writes == {2: list(range(1, N + 1))}
    waiting = [vcpu for vcpu in status.vcpus if vcpu.HasField("wait")]
    assert len(waiting) == 2
    for vcpu in waiting:
        assert (vcpu.wait.address, vcpu.wait.size_bytes, vcpu.wait.exit_seq) == (PORT, 4, 1)
        assert (vcpu.wait.client, vcpu.wait.client_id) == ("shared", shared.server.client_id)
        assert 0 < vcpu.wait.since_ns <= status.now_ns
    gate.open()
    halted(control)
    assert gate.writes == {vcpu: list(range(1, N + 1)) for vcpu in (0, 1)}
    check_counts(control, 3, N)


def test_64_vcpus_start_work_and_stop(start, guest):
    daemon = start(*guest("loop", cpus=64, PORT=PORT, KIND=WRITE, N=100), "--paused")
    counter, control = Counter(), daemon.control()
    assert len(control.status().vcpus) == 64
    daemon.serve(counter)
    control.resume()
    halted(control, LONG)
    assert counter.writes == {vcpu: list(range(1, 101)) for vcpu in range(64)}
    check_counts(control, 64, 100)
    daemon.stop()
    check_summary(daemon.stderr)


def check_summary(log):
    line = next(line for line in log.splitlines() if "ended (" in line)
    assert "(6400 io, 0 mmio, 64 halts; 0 unclaimed)" in line, line


def test_64_vcpus_stop_while_they_work(start, guest):
    daemon = start(*guest("loop", cpus=64, PORT=PORT, KIND=WRITE, N=0), "--paused")
    counter, control = Counter(), daemon.control()
    serving = daemon.serve(counter)
    control.resume()
    eventually("accesses of every vCPU", lambda: len(counter.writes) == 64, LONG)
    daemon.stop()
    assert serving.join().code == kvmcpu.schema.exit_.NOTICE_CODE_STOPPED
