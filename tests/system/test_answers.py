# SPDX-License-Identifier: MIT
"""What a reply carries beside its data: ticks, which add up wherever they are shown, and
effects, which are done before the guest goes on. And what becomes of accesses
while their owner is away.
"""

import signal
import struct
import subprocess

import kvmcpu
import pytest
from devices import PORT, SUMS, WAIT_ABSENT, WAITING, Counter, all_in, counts, halted
from harness import HERE, eventually

from kvmcpu.schema import event

N = 300
WRITE, READ = 0, 1


class Priced(Counter):
    """Charges different prices, too large for 32 bits now and then."""

    def __init__(self):
        super().__init__()
        self.charged = {}

    def write(self, access):
        ticks = access.value * 1000 + (2**33 if access.value % 50 == 0 else 0)
        self.charged.setdefault(access.vcpu, []).append((access.tick, ticks))
        return ticks


def test_ticks_add_up_everywhere(start, guest):
    daemon = start(*guest("loop", cpus=2, PORT=PORT, KIND=WRITE, N=N), "--paused")
    monitor, control, priced = daemon.monitor(states=False), daemon.control(), Priced()
    daemon.serve(priced)
    control.resume()
    status, stats = halted(control), control.stats()
    events = [next(monitor).exit for _ in range(2 * (N + 1))]
    for vcpu in range(2):
        charged = [ticks for _, ticks in priced.charged[vcpu]]
        assert [tick for tick, _ in priced.charged[vcpu]] == [
            sum(charged[:index]) for index in range(N)], "an access came at the wrong tick"
        mine = [record for record in events if record.exit.vcpu == vcpu]
        assert [record.reply.ticks for record in mine] == charged + [0]
        last = mine[-1]  # the halt, which nobody charged for
        assert (last.exit.tick == status.vcpus[vcpu].tick == stats.vcpus[vcpu].tick
                == stats.vcpus[vcpu].ticks_charged == sum(charged) > 2**33)
    assert sum(claim.ticks_charged for claim in stats.claims) == sum(
        vcpu.tick for vcpu in stats.vcpus)


def test_memory_written_by_an_effect_is_there_when_the_guest_goes_on(start, guest):
    """Each answer overwrites the guest's own counter, so the guest counts from there."""
    class Writer(Counter):
        def write(self, access):
            super().write(access)
            value = struct.pack("<I", 1000 * access.value)
            return kvmcpu.Reply(effects=[kvmcpu.write_memory(0x9000, value[:2]),
                                         kvmcpu.write_memory(0x9002, value[2:]),
                                         kvmcpu.write_memory(0x40000, b"x" * 32768)])

    daemon = start(*guest("loop", PORT=PORT, KIND=WRITE, N=N), "--paused")
    control = daemon.control()
    daemon.serve(Writer())
    control.resume()
    halted(control)
    assert counts(control) == [1000 * N + 1]
    assert control.read_memory(0x40000, 32769) == b"x" * 32768 + b"\0"


@pytest.mark.parametrize("code", [0, 1, 63])
def test_stop_vm_gives_the_daemons_exit_status(start, guest, code):
    """It stops there: not one access more."""
    class Stopper(Counter):
        def write(self, access):
            super().write(access)
            if self.total == 10:
                return kvmcpu.Reply(effects=[kvmcpu.stop_vm(code, "ten are enough")])

    daemon = start(*guest("loop", PORT=PORT, KIND=WRITE, N=0), "--paused")
    stopper, control = Stopper(), daemon.control()
    serving = daemon.serve(stopper)
    control.resume()
    daemon.ended(expect=code)
    assert "ten are enough" in daemon.stderr
    assert "ten are enough" in serving.join().message
    assert stopper.total == 10


def test_fill_answers_while_the_owner_is_away(start, guest):
    daemon = start(*guest("loop", PORT=PORT, KIND=READ, N=N), "--paused")
    monitor, control = daemon.monitor(states=False), daemon.control()
    daemon.serve(Counter(fill=0x1122334455667788), name="goner").close()
    eventually("the owner is seen to have gone",
               lambda: [claim for claim in control.clients().claims if not claim.client_id])
    control.resume()
    halted(control)
    assert control.read_memory(SUMS, 8) == struct.pack("<Q", 0x55667788 * N & 0xFFFFFFFF)
    stats = control.stats()
    assert (stats.vcpus[0].num_filled, stats.claims[0].filled) == (N, N)
    assert stats.claims[0].absent and stats.claims[0].client == "goner"
    answers = [next(monitor).exit.answered_by for _ in range(N)]
    assert answers == [event.ANSWERER_FILL] * N


def test_freeze_waits_for_the_next_owner(start, guest):
    """The vCPU says whom it misses, and what it wrote meanwhile reaches the next one."""
    daemon = start(*guest("loop", PORT=PORT, KIND=WRITE, N=N), "--paused")
    control, counter = daemon.control(), Counter()
    daemon.serve(Counter(), name="goner").close()
    eventually("the owner is seen to have gone",
               lambda: [claim for claim in control.clients().claims if not claim.client_id])
    control.resume()
    status = control.wait_until(all_in(WAITING))
    wait = status.vcpus[0].wait
    assert (wait.cause, wait.client, wait.address, wait.exit_seq) == (WAIT_ABSENT, "goner", PORT, 1)
    daemon.serve(counter, name="heir")
    halted(control)
    assert counter.writes == {0: list(range(1, N + 1))} and counts(control) == [N]
    assert control.stats().vcpus[0].num_redelivered == 0, "it had not been sent to anybody"


def test_an_exit_in_flight_is_offered_again(start, guest):
    """Its first owner was killed with the exit in hand: the next gets the same one, marked."""
    daemon = start(*guest("loop", PORT=PORT, KIND=READ, N=N), "--paused")
    control, counter = daemon.control(), Counter()
    monitor = daemon.monitor(states=False)
    child = daemon.spawn_device(HERE / "device_child.py", "--pio", f"{PORT:#x}-{PORT + 63:#x}",
                                "--value", "1", "--stage", "received", "--after", "100",
                                stdin=subprocess.PIPE)
    control.resume()
    eventually("the child is at its stage", lambda: b"stage received 101\n" in child.stdout)
    child.signal(signal.SIGKILL)
    control.wait_until(lambda s: s.vcpus[0].wait.cause == WAIT_ABSENT)
    daemon.serve(counter)
    halted(control)
    assert counts(control) == [N] and counter.reads == {0: N - 100}
    seen = [next(monitor).exit.exit for _ in range(N)]
    assert [exit.seq for exit in seen if exit.redelivered] == [101]
    assert control.stats().vcpus[0].num_redelivered == 1
    assert control.read_memory(SUMS, 4) == struct.pack(
        "<I", 100 + sum(range(1, N - 100 + 1)))
