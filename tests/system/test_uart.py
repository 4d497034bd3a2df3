# SPDX-License-Identifier: MIT
"""kvmcpu-pc's serial port as a guest's driver and a user see it: interrupts, and no
byte lost in either direction, whatever is at the other end.
"""

import os
import pathlib
import signal

import pc
import pytest
from devices import counts
from harness import KVMCPU_PC, LONG, eventually, load, wait_readable

KERNEL = ["--irqchip", "kernel", "--paused"]


def through(control, count, timeout=LONG):
    """Waits until the guest has sent or received so many bytes."""
    eventually(f"{count} bytes at the guest", lambda: counts(control) == [count], timeout)


def stands(control):
    """Waits until the guest waits for the reader of its output."""
    seen = []

    def look():
        seen.append(counts(control)[0])
        return len(seen) >= 20 and seen[-20] == seen[-1] > 0

    eventually("a guest that waits for its reader", look, LONG)


def cpu_seconds(process):
    fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def interrupts(control):
    return counts(control, address=0x9200)[0]


@pytest.fixture
def machine(start, guest):
    """Starts the guest "serial"; returns daemon, control, kvmcpu-pc."""
    def begin(kind, count, *options, irqchip="kernel", **more):
        daemon = start(*guest("serial", KIND=kind, COUNT=count), "--irqchip", irqchip, "--paused")
        control = daemon.control()
        child = pc.spawn(daemon, *options, **more)
        return daemon, control, child

    return begin


@pytest.fixture(params=["pty", "unix"])
def plugged(request, tmp_path, machine):
    """The same, with a Line plugged in before the guest begins."""
    path = tmp_path / "line"
    lines = []

    def begin(kind, count):
        where = "pty" if request.param == "pty" else f"unix:{path}"
        daemon, control, child = machine(kind, count, "--serial", where)
        lines.append(pc.open_pty(child) if request.param == "pty" else pc.connect(path))
        control.resume()
        pc.begun(control)
        return control, lines[-1], child

    yield begin
    for line in lines:
        line.close()


def test_the_transmitter_interrupts_for_each_byte(machine, tmp_path):
    out = tmp_path / "out"
    _, control, _ = machine(0, 3000, "--serial", out)
    control.resume()
    through(control, 3000)
    assert out.read_bytes() == pc.pattern(3000)
    assert interrupts(control) >= 1


def test_without_a_controller_there_is_no_line_and_polling_works(machine, tmp_path):
    out = tmp_path / "out"
    _, control, _ = machine(2, 1000, "--serial", out, irqchip="none")
    control.resume()
    through(control, 1000)
    assert out.read_bytes() == pc.pattern(1000)


def test_typed_input_interrupts(plugged):
    control, line, _ = plugged(1, 0)
    for number, text in enumerate([b"a", b"bc", b"d" * 40]):
        before, total = interrupts(control), counts(control)[0]
        line.type(text)
        through(control, total + len(text))
        assert interrupts(control) > before
    assert control.read_memory(pc.INPUT, 43) == b"abc" + b"d" * 40


def test_input_at_full_speed_loses_nothing(plugged):
    control, line, _ = plugged(1, 0)
    data = os.urandom(load(65536, least=16384))
    line.type(data, timeout=LONG)
    through(control, len(data))
    assert control.read_memory(pc.INPUT, len(data)) == data


def test_output_waits_for_a_slow_reader(plugged):
    count = load(100000, least=30000)
    control, line, _ = plugged(2, count)
    stands(control)  # nothing is read until then
    assert counts(control)[0] < count
    assert line.read(count, timeout=LONG, most=997) == pc.pattern(count)
    through(control, count)


def test_a_string_instruction_waits_for_a_slow_reader(machine):
    """It looks at no register, so its vCPU is held instead."""
    text = os.urandom(load(120000, least=30000))
    _, control, child = machine(3, len(text), "--serial", "pty")
    control.write_memory(pc.INPUT, text)
    line = pc.open_pty(child)
    control.resume()
    assert line.read(len(text), timeout=LONG, most=997) == text
    through(control, len(text))
    line.close()


def test_a_guest_that_is_held_can_be_stopped(machine):
    daemon, control, child = machine(3, 120000, "--serial", "pty")
    line = pc.open_pty(child)
    control.resume()
    pc.begun(control)
    seen = []

    def held():
        seen.append(control.status().vcpus[0].exit_seq)
        return seen.count(seen[-1]) >= 20

    eventually("a guest that is held", held)
    control.stop()
    daemon.ended()
    assert child.wait() == 0
    line.close()


def test_a_pty_that_nobody_has_open_does_not_hold_the_guest(machine):
    _, control, child = machine(2, 20000, "--serial", "pty")
    control.resume()
    through(control, 20000)
    line = pc.open_pty(child)
    try:
        assert not wait_readable([line.fd], 0.2), "what was written before is there"
    finally:
        line.close()


def test_a_pty_is_left_and_opened_again(machine):
    _, control, child = machine(1, 0, "--serial", "pty")
    control.resume()
    pc.begun(control)
    for number in range(5):
        line = pc.open_pty(child)
        line.type(b"hello")
        line.close()
        through(control, 5 * (number + 1))
    assert control.read_memory(pc.INPUT, 25) == b"hello" * 5


def test_a_socket_takes_one_after_the_other(machine, tmp_path):
    path = tmp_path / "line"
    _, control, child = machine(1, 0, "--serial", f"unix:{path}")
    control.resume()
    pc.begun(control)
    first, second = pc.connect(path), pc.connect(path)
    second.type(b"second")
    first.type(b"first")
    through(control, 5)
    first.close()
    through(control, 11)
    assert control.read_memory(pc.INPUT, 11) == b"firstsecond"
    second.close()


def test_the_socket_is_removed_and_a_dead_one_replaced(machine, tmp_path):
    path = tmp_path / "line"
    daemon, control, child = machine(1, 0, "--serial", f"unix:{path}")
    child.kill()
    assert path.exists()
    again = pc.spawn(daemon, "--serial", f"unix:{path}")
    control.resume()
    pc.begun(control)
    pc.connect(path).close()
    control.stop()
    daemon.ended()
    assert again.wait() == 0
    assert not path.exists()


def test_standard_input_is_input_until_its_end(machine):
    ours, theirs = os.pipe()
    _, control, child = machine(1, 0, "--debugcon", "none", "--serial", "-", stdin=ours)
    os.close(ours)
    control.resume()
    pc.begun(control)
    os.write(theirs, b"to the end")
    os.close(theirs)
    through(control, 10)
    assert control.read_memory(pc.INPUT, 10) == b"to the end"
    assert child.running


@pytest.mark.parametrize("where, says", [
    ("/nowhere/at/all", "No such file or directory"),
    ("unix:/nowhere/at/all", "No such file or directory"),
    ("unix:/tmp/" + "x" * 120, "107 bytes"),
    ("unix:/etc/passwd", "unix:PATH"),
    ("/", "Is a directory"),
])
def test_a_bad_other_end(start, guest, where, says):
    daemon = start(*guest("serial", KIND=1, COUNT=0), *KERNEL)
    child = daemon.spawn([KVMCPU_PC, *daemon.words, "--serial", where], "pc")
    assert child.wait() == 74
    assert len(child.stderr.splitlines()) == 1 and says in child.stderr and where in child.stderr


def test_a_socket_that_is_in_use(machine, tmp_path):
    path = tmp_path / "line"
    daemon, control, child = machine(1, 0, "--serial", f"unix:{path}")
    second = daemon.spawn([KVMCPU_PC, *daemon.words, "--serial", f"unix:{path}"], "second")
    assert second.wait() == 74 and "in use" in second.stderr
    line = pc.connect(path)
    control.resume()
    pc.begun(control)
    line.type(b"still there")
    through(control, 11)
    line.close()


def test_input_is_taken_while_the_output_waits(plugged):
    """Who does not read can type all the same, and kvmcpu-pc rests meanwhile."""
    control, line, child = plugged(5, 0)
    stands(control)
    line.type(b"q")
    eventually("what was typed", lambda: control.read_memory(pc.INPUT, 1) == b"q")
    stands(control)
    before = cpu_seconds(child)
    assert not wait_readable([child.pidfd], 0.5)
    assert cpu_seconds(child) - before < 0.2


def test_a_line_is_told_again_when_the_daemon_took_too_long(machine, tmp_path):
    """It stands for longer than a control call waits: the interrupt comes late, but it comes."""
    daemon, control, child = machine(1, 0, "--serial", f"unix:{tmp_path}/line")
    control.resume()
    pc.begun(control)
    line = pc.connect(tmp_path / "line")
    daemon.signal(signal.SIGSTOP)
    line.type(b"late")
    eventually("a warning", lambda: "was not set" in child.stderr)
    daemon.signal(signal.SIGCONT)
    through(control, 4)
    line.close()
