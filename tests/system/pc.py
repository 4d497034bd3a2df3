# SPDX-License-Identifier: MIT
"""kvmcpu-pc beside a daemon, and the two ends of its serial port."""

import os
import re
import select
import socket
import time
import tty

from devices import RESULTS
from harness import DEADLINE, KVMCPU_PC, eventually

INPUT = 0x100000  # where the guest "serial" puts what it receives


def pattern(count):
    """What the guest "serial" sends."""
    return bytes((n + (n >> 8)) & 0xFF for n in range(count))


def spawn(daemon, *options, **more):
    return daemon.spawn_ready([KVMCPU_PC, *daemon.words, *options], "pc", **more)


def begun(control):
    """Waits until the guest "serial" has set its port up."""
    eventually("the guest sets its port up", lambda: control.read_memory(RESULTS, 1) == b"\1")


class Line:
    """A file descriptor to type at and to read from, neither of which waits for long."""

    def __init__(self, fd):
        self.fd = fd
        os.set_blocking(fd, False)

    def type(self, data, timeout=DEADLINE):
        """Writes everything, as fast as it is taken."""
        deadline = time.monotonic() + timeout
        while data:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([], [self.fd], [], left)[1], "input is not taken"
            data = data[os.write(self.fd, data):]

    def read(self, count, timeout=DEADLINE, most=65536):
        """count bytes, in portions of at most so many."""
        deadline, got = time.monotonic() + timeout, bytearray()
        while len(got) < count:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([self.fd], [], [], left)[0], \
                f"only {len(got)} bytes of {count} came"
            got += os.read(self.fd, min(most, count - len(got)))
        return bytes(got)

    def close(self):
        os.close(self.fd)


def pty_of(process):
    """The name of the pty that kvmcpu-pc has made."""
    return re.search(r"the serial port is (\S+)", process.stderr).group(1)


def open_pty(process):
    fd = os.open(pty_of(process), os.O_RDWR | os.O_NOCTTY)
    tty.setraw(fd)
    return Line(fd)


def connect(path):
    with socket.socket(socket.AF_UNIX) as link:
        link.connect(str(path))
        return Line(os.dup(link.fileno()))
