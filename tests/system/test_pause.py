# SPDX-License-Identifier: MIT
"""Pause and resume: what is paused stands still with its accesses completed, and nothing
is lost or done twice, however often.

The guest's count, the device's and the daemon's must be equal at the end.
"""

import kvmcpu
import pytest
from devices import (IDLE, PORT, RUNNING, STOP, SUMS, WAIT_REPLY, WAITING, Counter, Gate, all_in,
                     counts, halted, total)
from harness import DEADLINE, load

from kvmcpu.schema import control as messages

WRITE, READ = 0, 1
ROUNDS = load(1000)
OUTL = b"\xef"  # outl %eax, %dx


def check_still(control, status):
    """Paused, nothing in flight, and nothing happens between two looks."""
    for vcpu in status.vcpus:
        assert vcpu.paused and not vcpu.HasField("wait")
        assert vcpu.state in (RUNNING, IDLE)
    assert status.state == messages.VM_STATE_PAUSED
    again = control.status()
    assert [vcpu.exit_seq for vcpu in again.vcpus] == [vcpu.exit_seq for vcpu in status.vcpus]
    assert [vcpu.tick for vcpu in again.vcpus] == [vcpu.tick for vcpu in status.vcpus]


@pytest.mark.parametrize("mode, vcpus, kind", [
    ("long", 2, WRITE), ("long", 1, READ), ("user", 1, WRITE), ("user", 2, READ)])
def test_a_thousand_times_under_load(start, guest, mode, vcpus, kind):
    daemon = start(*guest("loop", mode, vcpus, PORT=PORT, KIND=kind, N=0), "--paused")
    counter, control = Counter(), daemon.control()
    counter.ticks = 1
    daemon.serve(counter)
    before = [0] * vcpus
    progressed = 0
    for _ in range(ROUNDS):
        control.resume()
        status = control.pause()
        check_still(control, status)
        done = counts(control, vcpus)
        # Completed means that the guest's instruction is done, yet nothing behind it.
        served = [vcpu.tick for vcpu in status.vcpus]
        assert all(0 <= s - d <= 1 for s, d in zip(served, done))
        progressed += done != before
        before = done
    assert progressed > ROUNDS // 10, "it hardly ran between two pauses"
    control.write_memory(STOP, b"\1")
    control.resume()
    check_end(control, counter, vcpus, halted(control), kind)


def check_end(control, counter, vcpus, status, kind):
    """Three counts agree, and each value went over once: 1, 2, 3 ... one way or the other."""
    done = counts(control, vcpus)
    if kind == WRITE:
        assert counter.writes == {vcpu: list(range(1, n + 1)) for vcpu, n in enumerate(done)}
    else:
        assert counter.reads == dict(enumerate(done))
        assert counts(control, vcpus, SUMS) == [n * (n + 1) // 2 for n in done]
    stats = control.stats()
    assert [vcpu.num_io for vcpu in stats.vcpus] == done == [v.tick for v in status.vcpus]
    for vcpu in stats.vcpus:
        assert vcpu.num_vm_exits == vcpu.num_io + vcpu.num_halt + vcpu.num_exit_signal
        assert vcpu.num_vm_half_entries > 0 and vcpu.num_redelivered == 0
        assert vcpu.num_events > vcpu.num_vm_exits


def test_pause_with_an_access_in_flight(start, guest):
    """Pause gives up at its time-out and says what holds the vCPU; the access is completed
    when its answer comes, and nothing runs on behind it."""
    daemon = start(*guest("loop", PORT=PORT, KIND=WRITE, N=50), "--paused")
    gate, control = Gate(), daemon.control()
    serving = daemon.serve(gate, name="slow")
    control.resume()
    assert gate.entered.wait(DEADLINE)
    status = control.pause(timeout_ms=50)
    vcpu = status.vcpus[0]
    assert vcpu.paused and vcpu.state == WAITING
    assert (vcpu.wait.cause, vcpu.wait.client, vcpu.wait.exit_seq) == (WAIT_REPLY, "slow", 1)
    assert (vcpu.wait.address, vcpu.wait.size_bytes) == (PORT, 4)
    assert vcpu.wait.client_id == serving.server.client_id
    assert status.now_ns - vcpu.wait.since_ns >= 40_000_000, "the loop's clock is a coarse one"
    assert control.dump().access_pending
    gate.open()
    check_still(control, control.pause(timeout_ms=10_000))
    after = control.dump()
    assert not after.access_pending
    rip = register(after, "rip")
    assert control.read_memory(rip - 1, 1) == OUTL, "rip is not behind the access"
    assert counts(control) == [0]
    stats = control.stats().vcpus[0]
    assert (stats.num_io, stats.num_vm_half_entries) == (1, 1)
    control.resume()
    halted(control)
    assert gate.writes == {0: list(range(1, 51))} and counts(control) == [50]


def register(dump, name):
    groups = {group.name: group for group in dump.groups}
    return {entry.name: entry.value for entry in groups["regs"].registers}[name]


def test_a_paused_read_is_in_the_register(start, guest):
    """What the device answered is in rax before the guest goes on."""
    class Slow(Gate):
        @kvmcpu.pio_read(PORT)
        def read(self, access):
            self.entered.set()
            assert self._go.wait(DEADLINE)
            return 0xCAFE0123

        write = None

    daemon = start(*guest("loop", PORT=PORT, KIND=READ, N=1), "--paused")
    slow, control = Slow(), daemon.control()
    daemon.serve(slow)
    control.resume()
    assert slow.entered.wait(DEADLINE)
    assert control.pause(timeout_ms=10).vcpus[0].HasField("wait")
    slow.open()
    check_still(control, control.pause(timeout_ms=10_000))
    assert register(control.dump(), "rax") == 0xCAFE0123
    assert counts(control) == [0]


def test_some_vcpus_paused_others_not(start, guest):
    daemon = start(*guest("loop", cpus=3, PORT=PORT, KIND=WRITE, N=0), "--paused")
    counter, control = Counter(), daemon.control()
    daemon.serve(counter)
    control.resume(vcpus=[0, 2])
    control.wait_until(lambda s: min(counts(control, 3)[::2]) > 10)
    status = control.pause(vcpus=[0])
    assert [vcpu.paused for vcpu in status.vcpus] == [True, True, False]
    assert status.state == messages.VM_STATE_RUNNING
    before = counts(control, 3)
    control.wait_until(lambda s: counts(control, 3)[2] > before[2] + 10)
    after = counts(control, 3)
    assert after[0] == before[0] and after[1] == 0
    control.pause()
    assert total(control.stats(), "num_io") == counter.total


def test_pause_of_a_halted_vcpu(start, guest):
    """A wake that comes while it is paused takes effect when it is resumed."""
    daemon = start(*guest("halt", VECTOR=0x40))
    control = daemon.control()
    halted(control)
    check_still(control, control.pause())
    control.effect(kvmcpu.wake(0))
    assert control.dump().vcpu == 0 and counts(control) == [0]
    control.resume()
    control.wait_until(lambda s: counts(control) == [1] and all_in(IDLE)(s))
