# SPDX-License-Identifier: MIT
"""A booted Linux: the daemon, its device process, and a person at the console."""

import os
import sys

import image
from console import Console
from harness import KVMCPU_PC, SLOWNESS

DEVICES = {"c": [KVMCPU_PC], "python": [sys.executable, "-m", "kvmcpu.devices"]}
BOOT = 120.0  # seconds; some 7 in the lab
SLOW = 60.0 * SLOWNESS  # for what takes some hundred thousand exits

# A byte over the console is an exit and more, some 0.4 ms in the lab. So tests send a part
# of what they would like to, unless KVMCPUD_FULL is set.
FULL = bool(os.environ.get("KVMCPUD_FULL"))


def amount(full, part):
    return full if FULL else part


class Linux:
    """A guest and its two processes. options go to kvmcpud; serial is the devices'."""

    def __init__(self, start, directory, initrd, language="c", cpus=1, serial=None, options=()):
        self.language = language
        self.socket = directory / "console"
        self.state = directory / "state"
        self.serial = serial or f"unix:{self.socket}"
        self.daemon = start("--kernel", image.vmlinuz(), "--initrd", initrd, "--append",
                            image.APPEND, "--cpus", cpus, "--memory", "256M", "--paused",
                            *options)
        self.control = self.daemon.control()
        self.start_devices()
        self.console = None if serial else Console(self.socket, BOOT)

    def start_devices(self):
        self.devices = self.daemon.spawn_ready(
            [*DEVICES[self.language], *self.daemon.words, "--debugcon", "none",
             "--serial", self.serial, "--state", self.state], "devices", timeout=BOOT)
        return self.devices

    def up(self):
        """Lets it run until its shell is there; returns how many CPUs it found."""
        self.control.resume()
        return self.console.wait_ready(BOOT)[1]
