# SPDX-License-Identifier: MIT
"""A pseudo-terminal, whose other end people open when they like.

While nobody has it open the kernel says POLLHUP: the output is dropped, and
the descriptor is left out of poll, where it would never rest. inotify tells
when it is opened. It is raw and does not echo, so that a reader gets what the
guest writes.
"""

import ctypes
import os
import select
import termios
import tty

from .streams import Stream, ready

_IN_OPEN, _IN_FLAGS = 0x20, os.O_NONBLOCK | os.O_CLOEXEC  # linux/inotify.h


def watch_opens(path):
    """A descriptor that is readable when somebody has opened path."""
    libc = ctypes.CDLL(None, use_errno=True)
    descriptor = libc.inotify_init1(_IN_FLAGS)
    if descriptor < 0 or libc.inotify_add_watch(descriptor, os.fsencode(path), _IN_OPEN) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), path)
    return descriptor


class Pty(Stream):
    """path is what to open."""

    def __init__(self):
        super().__init__()
        self._fd, other = os.openpty()
        os.set_blocking(self._fd, False)
        self.path = os.ttyname(other)
        tty.setraw(other, termios.TCSANOW)
        # From here on the kernel tells whether somebody has it open.
        os.close(other)
        self._attached = False
        self._watch = watch_opens(self.path)

    def close(self):
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._watch)
        self._fd = -1

    def read(self, size):
        try:
            data = os.read(self._fd, size) if size else b""
        except OSError:
            data = b""  # EIO: the other end has closed and was read empty
        self.more = bool(data)
        return data

    def sources(self, room):
        wanted = [(self._watch, select.POLLIN)]
        if self._attached:
            wanted.append((self._fd, (select.POLLIN if room else 0)
                           | (select.POLLOUT if self.stalled else 0)))
        return wanted

    def polled(self, source, events):
        if source == self._watch:
            os.read(self._watch, 4096)
            self._attached = self.more = True  # or it was for a moment: the next poll says
            return
        self.more = self.more or bool(events & (select.POLLIN | select.POLLHUP))
        if events & select.POLLHUP:
            self._attached = False

    def _put(self, data):
        self._attached = not ready(self._fd, select.POLLOUT) & select.POLLHUP
        if not self._attached:
            return len(data)
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
