# SPDX-License-Identifier: MIT
"""Debian's kernel, unmodified, to its shell, and what it found on the way: processors,
interrupts, the serial port. Its console is in another process, in either language.
"""

import pytest
from guest import BOOT, DEVICES


@pytest.mark.parametrize("language", DEVICES)
@pytest.mark.parametrize("cpus", [1, 2])
def test_to_the_shell_and_off(linux, language, cpus):
    guest = linux(language, cpus=cpus)
    assert guest.up() == cpus
    console = guest.console
    assert console.check("cat /proc/cmdline") == "console=ttyS0 quiet"
    assert "uart:16550A port:000003F8 irq:4" in console.check("cat /proc/tty/driver/serial")
    interrupts = console.check("grep -E 'ttyS0|rtc0' /proc/interrupts")
    for line in interrupts.splitlines():
        assert "IO-APIC" in line, interrupts
    assert "ttyS0" in interrupts
    assert console.check("ls /sys/class/rtc") == "rtc0"
    console.type("poweroff\n")
    assert guest.daemon.wait(BOOT) == 0
    assert "guest powered off" in guest.daemon.stderr
    assert guest.devices.wait() == 0


@pytest.mark.parametrize("language", DEVICES)
def test_reboot(linux, language):
    """It comes up again, in the same daemon, with the same device process."""
    guest = linux(language, options=["--on-reset", "restart"])
    guest.up()
    first = guest.console.check("cat /proc/sys/kernel/random/boot_id")
    guest.console.type("reboot\n")
    assert guest.console.wait_ready(BOOT)[1] == 1
    assert guest.console.check("cat /proc/sys/kernel/random/boot_id") != first
    guest.console.type("poweroff\n")
    assert guest.daemon.wait(BOOT) == 0


def test_reboot_ends_it_by_default(linux):
    guest = linux()
    guest.up()
    guest.console.type("reboot\n")
    assert guest.daemon.wait(BOOT) == 0
    assert "guest reset" in guest.daemon.stderr
