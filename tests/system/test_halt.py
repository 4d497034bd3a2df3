# SPDX-License-Identifier: MIT
"""Halts and what ends them, without an interrupt controller in the kernel.

The guest halts with interrupts enabled, and counts how often it went on behind
its HLT, its interrupts and its NMIs.
"""

import struct
import threading

import kvmcpu
import pytest
from devices import IDLE, RESULTS, SUMS, all_in, counts, halted
from harness import DEADLINE

VECTOR = 0x41


def heard(control):
    """(interrupts, NMIs) of vCPU 0."""
    return struct.unpack("<II", control.read_memory(SUMS, 8))


def goes_on(control, times, woken=None):
    """Waits until the guest has halted the n-th time; checks what woke it."""
    control.wait_until(lambda s: counts(control) == [times] and all_in(IDLE)(s))
    if woken is not None:
        assert heard(control) == woken


def test_nobody_claims_the_halts(start, guest):
    """The vCPU is idle until control wakes it, by each of the three ways, once for each."""
    daemon = start(*guest("halt", VECTOR=VECTOR))
    monitor, control = daemon.monitor(kinds=["halt"]), daemon.control()
    halted(control)
    assert counts(control) == [0]
    control.effect(kvmcpu.wake(0))
    goes_on(control, 1, (0, 0))
    control.effect(kvmcpu.interrupt(0, VECTOR))
    goes_on(control, 2, (1, 0))
    control.effect(kvmcpu.nmi(0))
    goes_on(control, 3, (1, 1))
    stats = control.stats().vcpus[0]
    assert (stats.num_halt, stats.num_interrupts, stats.num_unclaimed) == (4, 2, 0)
    states = []
    while len(states) < 6:
        happened = next(monitor)
        if happened.HasField("state"):
            states.append((happened.state.from_state == IDLE, happened.state.to_state == IDLE))
    assert all(was != now for was, now in states), "not to idle and back again"


def test_a_wake_that_comes_before_the_halt_is_nothing(start, guest):
    daemon = start(*guest("halt", VECTOR=VECTOR), "--paused")
    control = daemon.control()
    control.effect(kvmcpu.wake(0))
    control.resume()
    halted(control)
    assert control.dump().access_pending is False  # it has been through the mailbox once more
    assert counts(control) == [0] and control.stats().vcpus[0].num_halt == 1


def test_an_interrupt_sent_before_interrupts_are_on_is_held(start, guest):
    daemon = start(*guest("halt", VECTOR=VECTOR), "--paused")
    control = daemon.control()
    control.effect(kvmcpu.interrupt(0, VECTOR))
    control.effect(kvmcpu.interrupt(0, VECTOR))  # held already: delivered once
    control.resume()
    control.wait_until(lambda s: heard(control)[0] and all_in(IDLE)(s))
    assert heard(control) == (1, 0)
    assert control.stats().vcpus[0].num_interrupts == 1


class Halts(kvmcpu.Device):
    """Told of every HLT; answers the first ones with effects, then lets it sleep."""

    def __init__(self, *answers):
        self.answers, self.seen, self.all = list(answers), 0, threading.Event()

    @kvmcpu.halt()
    def halt(self, access):
        self.seen += 1
        if not self.answers:
            self.all.set()
            return 7
        return kvmcpu.Reply(ticks=10, effects=self.answers.pop(0))


@pytest.mark.parametrize("effects, woken", [
    ([kvmcpu.wake(0)], (0, 0)),
    ([kvmcpu.interrupt(0, VECTOR)], (1, 0)),
    ([kvmcpu.nmi(0)], (0, 1)),
])
def test_a_claimed_halt_goes_on_by_its_replys_effects(start, guest, effects, woken):
    times = 20
    halts = Halts(*[effects] * times)
    daemon = start(*guest("halt", VECTOR=VECTOR), "--paused")
    control = daemon.control()
    daemon.serve(halts)
    control.resume()
    assert halts.all.wait(DEADLINE)
    goes_on(control, times, tuple(times * each for each in woken))
    status, stats = control.status(), control.stats()
    assert halts.seen == stats.vcpus[0].num_halt == times + 1
    assert stats.vcpus[0].num_interrupts == times * sum(woken)
    assert status.vcpus[0].tick == stats.vcpus[0].ticks_charged == 10 * times + 7


def test_an_nmi_and_an_interrupt_in_one_reply_both_arrive(start, guest):
    """How often the guest goes on for the two is KVM's affair: one takes the other's HLT along."""
    halts = Halts([kvmcpu.nmi(0), kvmcpu.interrupt(0, VECTOR)])
    daemon = start(*guest("halt", VECTOR=VECTOR), "--paused")
    control = daemon.control()
    daemon.serve(halts)
    control.resume()
    assert halts.all.wait(DEADLINE)
    control.wait_until(lambda s: heard(control) == (1, 1) and all_in(IDLE)(s))
    assert counts(control)[0] in (1, 2)
    assert control.stats().vcpus[0].num_interrupts == 2


def test_one_vcpu_wakes_another(start, guest):
    """Effects reach any vCPU: both sleep, and the one that is woken wakes nobody else."""
    daemon = start(*guest("halt", cpus=2, VECTOR=VECTOR), "--paused")
    control = daemon.control()
    halts = Halts([kvmcpu.wake(1)])
    daemon.serve(halts, vcpus=[0])
    control.resume(vcpus=[1])
    control.wait_until(lambda s: s.vcpus[1].state == IDLE)
    control.resume(vcpus=[0])
    control.wait_until(lambda s: counts(control, 2) == [0, 1] and all_in(IDLE)(s))
    assert halts.seen == 1


def test_hlt_stays_with_a_kernel_interrupt_controller(start, guest):
    """No halt exit there, and status says why."""
    daemon = start(*guest("halt", VECTOR=VECTOR), "--irqchip", "kernel")
    control = daemon.control()
    assert any("HLT" in note for note in control.status().notes)
    with pytest.raises(kvmcpu.ControlError, match="irqchip|interrupt controller"):
        control.effect(kvmcpu.interrupt(0, VECTOR))
    control.wait_until(lambda s: control.read_memory(RESULTS, 1) == b"\1")
    control.effect(kvmcpu.nmi(0))
    control.wait_until(lambda s: heard(control) == (0, 1))
    assert control.stats().vcpus[0].num_halt == 0
