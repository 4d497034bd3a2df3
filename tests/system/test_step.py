# SPDX-License-Identifier: MIT
"""Instruction stops (SEMANTICS.md S10): a run of so many instructions ends behind exactly the
last of them. Where this KVM does not stop behind single steps, the request is refused with
that reason, and each test here asks for just that.
"""

import subprocess

import kvmcpu
from devices import PORT, Counter, counts
from harness import BUILD

from kvmcpu.schema import control as messages

INSTRUCTIONS, BUDGET = messages.RUN_END_INSTRUCTIONS, messages.RUN_END_BUDGET
LONG = 10**15  # ticks
WRITE = 0


def refused(control):
    """Whether single steps do not trap here; the refusal then says so, and costs nothing."""
    try:
        control.run(LONG, instructions=1)
    except kvmcpu.ControlError as error:
        assert "lets the guest run on behind a single step" in str(error)
        assert "(unsupported)" in str(error)
        assert counts(control) == [0]
        return True
    return False


def rip(control):
    return next(register.value for group in control.dump().groups if group.name == "regs"
                for register in group.registers if register.name == "rip")


def test_s10_lands_exactly(start, guest):
    """The guest's loop has three instructions, the first of which counts."""
    control = start(*guest("spin", "long"), "--paused", "--clock", "monotonic").control()
    if refused(control):
        return
    while counts(control) == [0]:
        run, = control.run(LONG, instructions=1)
        assert (run.end, run.instructions) == (INSTRUCTIONS, 1)
    first = rip(control)
    for loops in (1, 2, 50, 333):
        before, = counts(control)
        run, = control.run(LONG, instructions=3 * loops)
        assert (run.end, run.instructions) == (INSTRUCTIONS, 3 * loops)
        assert counts(control) == [before + loops]
        assert rip(control) == first
        assert run.host_ns > 0
    control.run(LONG, instructions=1)
    assert rip(control) != first
    run, = control.run(10**9)  # nothing of the stepping is left
    assert run.end == BUDGET and run.instructions == 0
    assert counts(control)[0] > before + loops


def test_s10_accesses_are_instructions_too(start, guest):
    """An access is completed within its step, whoever answers it."""
    daemon = start(*guest("loop", "long", PORT=PORT, KIND=WRITE, N=5), "--paused")
    counter, control = Counter(), daemon.control()
    daemon.serve(counter)
    if refused(control):
        return
    seen, steps = [counter.total], 1
    while counts(control) != [5]:
        run, = control.run(LONG, instructions=1)
        steps += 1
        assert (run.end, run.instructions) == (INSTRUCTIONS, 1)
        assert counter.total - seen[-1] in (0, 1)
        assert 0 <= counter.total - counts(control)[0] <= 1
        seen.append(counter.total)
    assert counter.total == 5
    stats = control.stats().vcpus[0]
    assert stats.num_steps == steps
    assert stats.num_vm_exits >= steps


def test_s10_kvmcpuctl_step(start, guest):
    daemon = start(*guest("spin"), "--paused")
    control = daemon.control()
    none = refused(control)
    done = subprocess.run([BUILD / "kvmcpuctl", "step", "7", *daemon.words], capture_output=True,
                          text=True)
    if none:
        assert done.returncode == 65 and "single step" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert "paused behind 7 instructions" in done.stdout and "us each" in done.stdout
    wrong = subprocess.run([BUILD / "kvmcpuctl", "step", "0", *daemon.words], capture_output=True,
                           text=True)
    assert wrong.returncode == 64 and "give at least 1" in wrong.stderr


def test_kvmcpuctl_run(start, guest):
    daemon = start(*guest("spin"), "--paused", "--clock", "monotonic")
    def call(*words):
        return subprocess.run([BUILD / "kvmcpuctl", "run", *words, *daemon.words],
                              capture_output=True, text=True)
    done = call("100us")
    assert done.returncode == 0, done.stderr
    assert "the budget is used up" in done.stdout and "exits" in done.stdout
    assert call("100us", "--json").stdout.startswith("{")
    for words in (["1.5ms"], ["ms"], [""], ["99999999s"], ["1", "--advance-to", "soon"]):
        wrong = call(*words)
        assert wrong.returncode == 64 and len(wrong.stderr.splitlines()) == 1, words
    daemon.control().resume()
    free = call("1ms")
    assert free.returncode == 75 and "pause it first" in free.stderr
