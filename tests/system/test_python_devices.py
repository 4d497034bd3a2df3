# SPDX-License-Identifier: MIT
"""The Python devices as a guest and a user see them, by the guests that test
kvmcpu-pc: interrupts, the serial port's ends, power, and a process that is killed.
"""

import sys

import pc
import pytest
from devices import counts
from harness import KVMCPU_PC, LONG, eventually, load

PYTHON = [sys.executable, "-m", "kvmcpu.devices"]
SUMS = 0x9200
SLP_EN = 1 << 13


class Machine:
    """The guest "serial", whose devices are in a Python process."""

    def __init__(self, start, guest, kind, count, *options):
        self.daemon = start(*guest("serial", KIND=kind, COUNT=count), "--irqchip", "kernel",
                            "--paused", *options)
        self.control = self.daemon.control()

    def plug(self, *options, command=PYTHON):
        """Starts a process with the devices, and lets the guest run."""
        self.devices = self.daemon.spawn_ready([*command, *self.daemon.words, *options], "devices")
        self.control.resume()
        return self.devices

    @property
    def through(self):
        """How many bytes the guest has sent or received."""
        return counts(self.control)[0]

    def wait_through(self, count, timeout=LONG):
        eventually(f"{count} bytes at the guest", lambda: self.through == count, timeout)


@pytest.fixture
def machine(start, guest):
    return lambda *arguments: Machine(start, guest, *arguments)


def test_the_transmitter_interrupts(machine, tmp_path):
    out = tmp_path / "out"
    m = machine(0, 2000)
    m.plug("--serial", out)
    m.wait_through(2000)
    assert out.read_bytes() == pc.pattern(2000)
    assert counts(m.control, address=SUMS)[0] >= 1


def test_typed_input_interrupts(machine, tmp_path):
    """By a socket, with pauses in which the guest halts."""
    m = machine(1, 0)
    m.plug("--serial", f"unix:{tmp_path}/line")
    pc.begun(m.control)
    line = pc.connect(tmp_path / "line")
    sent = b""
    for text in (b"a", b"bc", b"d" * 40):
        before = counts(m.control, address=SUMS)[0]
        line.type(text)
        sent += text
        m.wait_through(len(sent))
        assert counts(m.control, address=SUMS)[0] > before
    assert m.control.read_memory(pc.INPUT, len(sent)) == sent
    line.close()


def test_output_waits_for_a_slow_reader(machine, tmp_path):
    count = load(20000, least=10000)  # more than a socket and a pty hold
    m = machine(2, count)
    m.devices = m.daemon.spawn_ready(
        [*PYTHON, *m.daemon.words, "--serial", f"unix:{tmp_path}/line"], "devices")
    line = pc.connect(tmp_path / "line")
    m.control.resume()
    assert line.read(count, timeout=LONG, most=997) == pc.pattern(count)
    m.wait_through(count)
    line.close()


@pytest.mark.parametrize("port, value, size, reason", [
    (0x604, SLP_EN, 2, "guest powered off"), (0xCF9, 0x06, 1, "guest reset")])
def test_power(start, guest, port, value, size, reason):
    daemon = start(*guest("poke", PORT=port, VALUE=value, SIZE=size), "--paused")
    control = daemon.control()
    devices = daemon.spawn_ready([*PYTHON, *daemon.words], "devices")
    control.resume()
    daemon.ended()
    assert reason in daemon.stderr
    assert devices.wait() == 0


def test_a_reset_gives_the_guest_new_devices(machine, tmp_path):
    """The guest sends only if the port is as after switching on, and then resets."""
    out = tmp_path / "out"
    m = machine(4, 20, "--on-reset", "restart")
    m.plug("--serial", out, "--state", tmp_path / "state")
    eventually("three runs", lambda: len(out.read_bytes()) >= 60)
    m.control.stop()
    m.daemon.ended()
    assert m.devices.wait() == 0
    runs = len(out.read_bytes()) // 20 + 1
    assert (pc.pattern(20) * runs).startswith(out.read_bytes())


@pytest.mark.parametrize("kind", [2, 0], ids=["polling", "interrupts"])
def test_killed_in_the_middle_of_output(machine, tmp_path, kind):
    """Each time the other language's devices go on: the state is the same."""
    count, out = load(12000, least=3000), tmp_path / "out"
    options = ["--serial", out, "--state", tmp_path / "state"]
    m = machine(kind, count)
    m.plug(*options)
    for command in (PYTHON, [KVMCPU_PC], PYTHON, PYTHON):
        wanted = m.through + count // 24
        eventually(f"more than {wanted} bytes", lambda: m.through > wanted)
        m.devices.kill()
        m.plug(*options, command=command)
    m.wait_through(count)
    assert out.read_bytes() == pc.pattern(count)


def test_killed_with_input_under_way(machine, tmp_path):
    """What the guest had not fetched yet is fetched from the next process."""
    text, state = b"sixteen bytes it", tmp_path / "state"
    options = ["--serial", f"unix:{tmp_path}/line", "--state", state]
    m = machine(1, 0)
    m.plug(*options)
    pc.begun(m.control)
    m.control.pause()
    line = pc.connect(tmp_path / "line")
    line.type(text)
    eventually("they are in the port", lambda: text in state.read_bytes())
    m.devices.kill()
    line.close()
    m.plug(*options)
    m.wait_through(len(text))
    assert m.control.read_memory(pc.INPUT, len(text)) == text
