# SPDX-License-Identifier: MIT
"""A booted Linux for each test. Needs a KVM that runs the guest's kernel mode by
itself, as the lab's does; one that leaves it to an instruction emulator says so
when kvmcpud starts.
"""

import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import image  # noqa: E402  (needs the path)
from console import Console  # noqa: E402
from harness import KVMCPU_PC  # noqa: E402

DEVICES = {"c": [KVMCPU_PC], "python": [sys.executable, "-m", "kvmcpu.devices"]}
BOOT = 120.0  # seconds; some 7 in the lab


class Linux:
    """A guest and its two processes. options go to kvmcpud; serial is the devices'."""

    def __init__(self, start, directory, language="c", cpus=1, serial=None, initrd=None,
                 append=image.APPEND, options=()):
        self.language = language
        self.socket = directory / "console"
        self.state = directory / "state"
        self.serial = serial or f"unix:{self.socket}"
        self.daemon = start("--kernel", image.vmlinuz(), "--initrd", initrd, "--append", append,
                            "--cpus", cpus, "--memory", "256M", "--paused", *options)
        self.control = self.daemon.control()
        self.start_devices()
        self.console = None if serial else Console(self.socket)

    def start_devices(self):
        self.devices = self.daemon.spawn_ready(
            [*DEVICES[self.language], *self.daemon.words, "--debugcon", "none",
             "--serial", self.serial, "--state", self.state], "devices")
        return self.devices

    def up(self):
        """Lets it run until its shell is there; returns how many CPUs it found."""
        self.control.resume()
        return self.console.wait_ready(BOOT)[1]


@pytest.fixture(scope="session")
def initrd(tmp_path_factory):
    path = tmp_path_factory.mktemp("linux") / "initramfs"
    path.write_bytes(image.initramfs())
    return path


@pytest.fixture
def linux(start, tmp_path, initrd):
    """linux(language, cpus=N, ...): see Linux."""
    begun = []

    def begin(*words, **more):
        begun.append(Linux(start, tmp_path, *words, initrd=initrd, **more))
        return begun[-1]

    yield begin
    for guest in begun:
        if guest.console:
            guest.console.close()


@pytest.fixture(autouse=True)
def kernel_mode(start):
    """Skips where KVM cannot run Linux, with the daemon's own words."""
    daemon = start("--kernel", image.vmlinuz(), "--paused")
    for note in daemon.control().status().notes:
        if "instruction emulator" in note:
            pytest.skip(f"{note}; tools/lab has another")
    daemon.stop()
