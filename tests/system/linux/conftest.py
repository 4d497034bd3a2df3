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
from guest import Linux  # noqa: E402


@pytest.fixture(scope="session")
def initrd(tmp_path_factory):
    path = tmp_path_factory.mktemp("linux") / "initramfs"
    path.write_bytes(image.initramfs())
    return path


@pytest.fixture
def linux(start, tmp_path, initrd):
    """linux(language="c", cpus=1, ...): see guest.Linux."""
    begun = []

    def begin(*words, initrd=initrd, **more):
        begun.append(Linux(start, tmp_path, initrd, *words, **more))
        return begun[-1]

    yield begin
    for guest in begun:
        if guest.console:
            guest.console.close()


@pytest.fixture(scope="session")
def emulated():
    """A note to skip with, once it is known."""
    return []


@pytest.fixture(autouse=True)
def kernel_mode(start, emulated):
    """Skips where KVM cannot run Linux, with the daemon's own words."""
    if not emulated:
        daemon = start("--kernel", image.vmlinuz(), "--paused")
        emulated.append(next((note for note in daemon.control().status().notes
                              if "instruction emulator" in note), None))
        daemon.stop()
    if emulated[0]:
        pytest.skip(f"{emulated[0]}; tools/lab has another KVM")
