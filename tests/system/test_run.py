# SPDX-License-Identifier: MIT
"""Runs by budget (SEMANTICS.md S1 to S8 and S12): what a scheduler client sees of clocks
and of the ends of its runs.

With --clock none, the tests' default, executing costs nothing, so every figure is exact. Where host time is the
clock, a test asks for what must hold however slow the machine is.
"""

import time

import kvmcpu
import pytest
from devices import PORT, Counter, Gate, counts, halted
from harness import DEADLINE, eventually

from kvmcpu.schema import control as messages

BUDGET, EXIT, HALT = messages.RUN_END_BUDGET, messages.RUN_END_EXIT, messages.RUN_END_HALT
EVENT, CANCELLED = messages.RUN_END_EVENT, messages.RUN_END_CANCELLED
STOPPED_END = messages.RUN_END_STOPPED
US, MS = 10**6, 10**9  # ticks
WRITE = 0


@pytest.fixture
def looping(start, guest):
    """A paused guest that writes without end, its counter charging ticks for each."""
    def begin(*options, ticks=10, vcpus=1, device=None, n=0):
        daemon = start(*guest("loop", "long", vcpus, PORT=PORT, KIND=WRITE, N=n), "--paused",
                       *options)
        counter = device or Counter()
        counter.ticks = ticks
        daemon.serve(counter)
        return daemon, daemon.control(), counter
    return begin


@pytest.fixture
def spinning(start, guest):
    """A paused guest that makes no exit."""
    def begin(*options, vcpus=1):
        clock = () if "--clock" in options else ("--clock", "monotonic")
        daemon = start(*guest("spin", "user", vcpus), "--paused", *clock, *options)
        return daemon, daemon.control()
    return begin


def test_s2_a_budget_ends_where_the_costs_say(looping):
    """What was charged is the budget, to the tick, and the clock goes on from there."""
    _, control, counter = looping(ticks=10)
    for number in range(1, 6):
        run, = control.run(1000)
        assert (run.end, run.charged_ticks, run.exits) == (BUDGET, 1000, 100)
        assert (run.executed_ticks, run.idle_ticks, run.tick) == (0, 0, 1000 * number)
        assert counter.total == 100 * number
        assert counts(control) == [100 * number - 1], "it ran on behind the last access"


def test_s2_an_access_may_cost_more_than_the_budget(looping):
    _, control, counter = looping(ticks=700)
    runs = [control.run(1000)[0] for _ in range(3)]
    assert [(run.charged_ticks, run.exits) for run in runs] == [(1400, 2)] * 3
    assert counter.total == 6


@pytest.mark.parametrize("clock", ["monotonic", "tsc"])
def test_s5_a_timer_ends_a_guest_that_makes_no_exit(spinning, clock):
    """No earlier than the budget says, in ticks of either source."""
    _, control = spinning("--clock", clock)
    before = 0
    for ticks in (10 * US, 100 * US, MS, 20 * MS):
        begun = time.monotonic_ns()
        run, = control.run(ticks)
        took = (time.monotonic_ns() - begun) * 1000
        assert run.end == BUDGET
        assert ticks <= run.executed_ticks <= took * 1.05, "the clock is not the host's"
        assert run.tick == before + run.executed_ticks
        before = run.tick
    assert counts(control)[0] > 0
    assert control.stats().vcpus[0].num_runs == 4


@pytest.mark.parametrize("factor, scale", [("1/10", 0.1), ("3", 3)])
def test_s6_the_host_factor_stretches_time(spinning, factor, scale):
    """A budget of simulated time takes budget / factor on the host at least."""
    _, control = spinning("--host-factor", factor)
    begun = time.monotonic_ns()
    run, = control.run(6 * MS)
    assert run.executed_ticks >= 6 * MS
    assert (time.monotonic_ns() - begun) * 1000 * scale >= 6 * MS


def test_s6_the_clock_is_the_sum_of_its_parts(looping):
    """Whatever was executed, charged and idle: exactly, and the same in status, stats, runs."""
    daemon, control, _ = looping("--clock", "monotonic", "--host-factor", "7/3", ticks=123456789)
    gained = [0, 0, 0]
    for _ in range(20):
        run, = control.run(MS)
        gained = [a + b for a, b in zip(
            gained, (run.executed_ticks, run.charged_ticks, run.idle_ticks))]
        assert run.tick == sum(gained)
    stats = control.stats().vcpus[0]
    assert [stats.ticks_executed, stats.ticks_charged, stats.ticks_idle] == gained
    assert stats.tick == control.status().vcpus[0].tick == sum(gained)
    assert control.status().clock_source == "monotonic"


def test_s3_a_run_of_nothing_completes_the_access(looping):
    """run(0): no instruction is executed behind the access in flight, and no kick is left."""
    gate = Gate()
    _, control, _ = looping(device=gate)
    control.begin_run(10**6)
    assert gate.entered.wait(DEADLINE)
    control.cancel_run()
    run, = control.wait_run()
    assert (run.end, run.in_flight, run.exit_seq) == (CANCELLED, True, 1)
    assert counts(control) == [0]
    gate.open()
    control.pause()
    run, = control.run(0)
    assert (run.end, run.exits, run.charged_ticks) == (BUDGET, 0, 0)
    assert (counts(control), gate.total) == ([0], 1), "it ran on behind its access"
    before = control.stats().vcpus[0]
    assert before.num_vm_half_entries >= 1
    run, = control.run(10)
    assert (run.end, run.exits) == (BUDGET, 1)


def test_s4_a_cancelled_run_ends_at_once(spinning):
    """From another connection, while the first waits; and no later run is felled by it."""
    daemon, control = spinning()
    other = daemon.control()
    for _ in range(50):
        control.begin_run(10**18)
        other.cancel_run()
        run, = control.wait_run()
        assert run.end == CANCELLED and not run.in_flight
    run, = control.run(MS)
    assert run.end == BUDGET and run.executed_ticks >= MS


def test_a_scheduler_that_goes_leaves_a_paused_vm(spinning):
    daemon, control = spinning()
    scheduler = daemon.control()
    scheduler.begin_run(10**18)
    eventually("the run is going", lambda: control.status().vcpus[0].in_run)
    assert control.status().state == messages.VM_STATE_RUNNING
    scheduler.close()
    run, = control.wait_run()
    assert run.end == CANCELLED
    status = control.pause()
    assert status.state == messages.VM_STATE_PAUSED and not status.vcpus[0].in_run


def test_a_pause_ends_a_run(spinning):
    daemon, control = spinning()
    control.begin_run(10**18)
    daemon.control().pause()
    assert control.wait_run()[0].end == CANCELLED


def test_a_run_ends_behind_an_exit(looping):
    _, control, counter = looping(ticks=3)
    for number in range(1, 4):
        run, = control.run(10**6, stop_at_exit=True)
        assert (run.end, run.exits, run.charged_ticks) == (EXIT, 1, 3)
        assert (counter.total, counts(control)) == (number, [number - 1])


def test_a_device_ends_a_run(looping):
    """By an effect on its reply, behind that very access."""
    class Timer(Counter):
        @kvmcpu.pio_write(PORT, PORT + 63)
        def write(self, access):
            self.writes.setdefault(access.vcpu, []).append(access.value)
            return kvmcpu.Reply(ticks=5, effects=[kvmcpu.end_run(0)] if access.value == 3 else [])

    _, control, device = looping(device=Timer())
    run, = control.run(10**6)
    assert (run.end, run.exits, run.charged_ticks) == (EVENT, 3, 15)
    assert device.total == 3


def test_a_halt_ends_a_run_and_the_clock_is_moved_on(start, guest):
    """A halted vCPU uses no budget; what wakes it says what time it is."""
    daemon = start(*guest("halt", VECTOR=0x40), "--paused")
    control = daemon.control()
    run, = control.run(1000)
    assert (run.end, run.tick) == (HALT, 0)
    assert control.run(1000)[0].end == HALT
    control.effect(kvmcpu.interrupt(0, 0x40))
    run, = control.run(1000, advance_to=5000)
    assert (run.end, run.tick, run.idle_ticks) == (HALT, 5000, 5000)
    assert counts(control) == [1]
    control.effect(kvmcpu.wake(0))
    run, = control.run(1000, advance_to=4000)  # it is past that
    assert (run.end, run.tick, run.idle_ticks) == (HALT, 5000, 0)
    assert counts(control) == [2]


@pytest.mark.parametrize("ends", [kvmcpu.wake(0), kvmcpu.nmi(0), kvmcpu.interrupt(0, 0x40)],
                         ids=["wake", "nmi", "interrupt"])
def test_s6_time_spent_halted_is_idle(start, guest, ends):
    """Of a vCPU that is free to run, in host time, whatever ends its halt."""
    daemon = start(*guest("halt", VECTOR=0x40), "--paused", "--clock", "monotonic")
    control = daemon.control()
    control.resume()
    halted(control)
    since = time.monotonic_ns()
    eventually("20 ms of it", lambda: time.monotonic_ns() >= since + 20 * 10**6)
    before = control.stats().vcpus[0].ticks_idle
    control.effect(ends)
    eventually("it goes on", lambda: counts(control) == [1])
    stats = halted(control) and control.stats().vcpus[0]
    assert stats.ticks_idle - before >= 20 * MS
    assert stats.tick == stats.ticks_executed + stats.ticks_charged + stats.ticks_idle


def test_many_vcpus_in_one_call(looping):
    """Each has its own clock and its own end."""
    _, control, counter = looping(ticks=10, vcpus=4)
    runs = control.run(500)
    assert [run.vcpu for run in runs] == [0, 1, 2, 3]
    assert {(run.end, run.charged_ticks, run.exits) for run in runs} == {(BUDGET, 500, 50)}
    runs = control.run(200, vcpus=[1, 3])
    assert [(run.vcpu, run.tick) for run in runs] == [(1, 700), (3, 700)]
    assert [vcpu.tick for vcpu in control.status().vcpus] == [500, 700, 500, 700]
    assert counter.total == 4 * 50 + 2 * 20


def test_a_vcpu_that_stops_ends_its_run(start, guest):
    daemon = start(*guest("triple"), "--paused")
    run, = daemon.control().run(10**15)
    assert run.end == STOPPED_END


def test_the_vms_end_ends_a_run(spinning):
    daemon, control = spinning()
    control.begin_run(10**18)
    daemon.control().stop(5)
    daemon.ended(5)


@pytest.mark.parametrize("prepare, call, code, text", [
    (lambda c: c.resume(), lambda c: c.run(1), "state", "vCPU 0 runs freely: pause it first"),
    (lambda c: c.begin_run(10**18), lambda c: c.run(1), "state", "vCPU 0 is in a run"),
    (lambda c: c.begin_run(10**18), lambda c: c.resume(), "state", "vCPU 0 is in a run"),
    (lambda c: None, lambda c: c.run(2**64 - 1, advance_to=1), "range", "past its end"),
    (lambda c: None, lambda c: c.run(1, vcpus=[1]), "range", "there is no vCPU 1"),
    (lambda c: None, lambda c: c.cancel_run(vcpus=[7]), "range", "there is no vCPU 7"),
], ids=["free", "twice", "resume", "overflow", "no-vcpu", "cancel-no-vcpu"])
def test_refused(spinning, prepare, call, code, text):
    """With a reason, and the VM as it was."""
    _, control = spinning()
    prepare(control)
    with pytest.raises(kvmcpu.ControlError, match=text) as refusal:
        call(control)
    assert f"({code})" in str(refusal.value)
    control.cancel_run()
    control.pause()
    assert control.run(1)[0].end == BUDGET


def test_s7_no_tick_is_unaccounted(looping):
    """For every exit: the tick before it and its cost, and what was executed and idle since,
    are the tick of the exit behind it."""
    daemon, control, _ = looping("--clock", "monotonic", ticks=777, n=300)
    monitor = daemon.monitor(timeout=DEADLINE)
    control.run(50 * US)
    control.resume()
    status = halted(control)
    tick, exits = 0, 0
    for happened in monitor:
        if happened.WhichOneof("what") != "exit":
            continue
        record = happened.exit
        assert record.exit.tick == tick + record.executed_ticks + record.idle_ticks
        tick = record.exit.tick + record.reply.ticks
        exits += record.exit.WhichOneof("kind") == "pio"
        if record.exit.seq == status.vcpus[0].exit_seq:
            break
    assert exits == 300


def test_s12_realtime_pace_waits_for_what_an_access_costs(looping):
    """Twenty accesses of 5 ms each take 100 ms at least; without it, they need not."""
    _, control, _ = looping("--pace", "realtime", ticks=5 * MS, n=20)
    begun = time.monotonic()
    control.resume()
    halted(control)
    assert time.monotonic() - begun >= 0.1


@pytest.mark.parametrize("words, text", [
    (["--host-factor", "0"], "--host-factor 0: give N or N/D"),
    (["--host-factor", "1/0"], "--host-factor 1/0"),
    (["--host-factor", "1000001"], "1 to 1000000"),
    (["--host-factor", "1.5"], "5/2"),
    (["--clock", "perf"], "--clock perf: give monotonic, tsc or none"),
    (["--pace", "slow"], "--pace slow: give none or realtime"),
])
def test_refused_options(refused, guest, words, text):
    refused(64, text, *guest("spin"), *words)
