# SPDX-License-Identifier: MIT
"""How a guest ends or restarts its machine by kvmcpu-pc's devices, whatever the size
of its access.
"""

import os
import sys

import pc
import pytest
from devices import RESULTS, counts
from harness import eventually

OFF, RESET = "guest powered off", "guest reset"
SLP_EN = 1 << 13


@pytest.fixture
def poke(start, guest):
    """A guest that writes value to a port and reads it back; daemon and control."""
    def begin(port, value, size, *options):
        daemon = start(*guest("poke", PORT=port, VALUE=value, SIZE=size), "--paused", *options)
        control = daemon.control()
        child = pc.spawn(daemon)
        control.resume()
        return daemon, control, child

    return begin


@pytest.mark.parametrize("port, value, size, reason", [
    (0x604, SLP_EN, 2, OFF),
    (0x604, SLP_EN | 1, 4, OFF),
    (0x605, SLP_EN >> 8, 1, OFF),
    (0xCF9, 0x06, 1, RESET),
    (0xCF9, 0x0E, 1, RESET),
    (0x64, 0xFE, 1, RESET),
    (0x92, 0x03, 1, RESET),
])
def test_the_end(poke, port, value, size, reason):
    daemon, _, child = poke(port, value, size)
    daemon.ended()
    assert child.wait() == 0
    assert reason in daemon.stderr and reason in child.stderr


@pytest.mark.parametrize("port, value, size, reads", [
    (0x604, 0x0000, 2, 0x0001),             # ACPI mode is always on
    (0x604, 0x0400 | SLP_EN, 2, 0x0401),    # there is no sleep of type 1; SLP_EN reads as 0
    (0x602, 0x0520, 2, 0x0520),             # enable bits are kept
    (0x600, 0xFFFFFFFF, 4, 0xFFFF0000),     # status reads 0, and enable is kept
    (0x600, 0xFFFF, 2, 0),
    (0x603, 0x05, 1, 0x05),
    (0xCF9, 0x02, 1, 0),                    # names the kind of reset, and does none
])
def test_what_ends_nothing(poke, port, value, size, reads):
    _, control, child = poke(port, value, size)
    eventually("the guest goes on", lambda: counts(control)[0] == 1 << 32 | 1)
    assert int.from_bytes(control.read_memory(RESULTS, 4), "little") == reads
    assert child.running


@pytest.mark.parametrize("devices", [[pc.KVMCPU_PC], [sys.executable, "-m", "kvmcpu.devices"]],
                         ids=["c", "python"])
def test_a_paused_vm_runs_once_its_devices_serve(start, guest, devices):
    """--resume: the guest's first access is answered, and its power-off ends everything."""
    daemon = start(*guest("poke", PORT=0x604, VALUE=SLP_EN, SIZE=2), "--paused", "--strict")
    child = daemon.spawn([*devices, *daemon.words, "--resume"], "pc")
    daemon.ended()
    assert child.wait() == 0 and OFF in daemon.stderr


def test_resume_without_a_control_socket(start, guest):
    """Who may only open device.sock is told, and its devices do not pretend to serve."""
    daemon = start(*guest("poke", PORT=0x604, VALUE=SLP_EN, SIZE=2), "--paused")
    os.rename(f"{daemon.directory}/control.sock", f"{daemon.directory}/hidden")
    child = daemon.spawn([pc.KVMCPU_PC, *daemon.words, "--resume"], "pc")
    assert child.wait() == 69
    assert "--resume needs" in child.stderr
    os.rename(f"{daemon.directory}/hidden", f"{daemon.directory}/control.sock")
