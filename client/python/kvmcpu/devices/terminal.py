# SPDX-License-Identifier: MIT
"""The user's own terminal as the other end of a serial port.

It is put in raw mode, so that every key reaches the guest, Ctrl-C among them,
and is restored by close() and while this process is stopped. Ctrl-A is for us:
what follows it says what to do. Keys are read even if the guest takes none, so
that these work when it has hung up; the rest waits here. Output is processed as
before, so that our own messages begin at the left.
"""

import os
import select
import signal
import sys
import termios
import tty

from .streams import Stdio

PREFIX = 0x01  # Ctrl-A
TYPED_MAX = 4096  # as much as the kernel keeps of a line
HELP = """
Ctrl-A x       stop the VM
Ctrl-A d       detach: this process ends, the VM waits for the next one
Ctrl-A Ctrl-A  send one to the guest
Ctrl-A ?       this list
"""


class Escape(Exception):
    """The user asks for something behind Ctrl-A: key is "x" (stop the VM) or "d" (detach)."""

    def __init__(self, key):
        super().__init__(key)
        self.key = key


def in_foreground():
    return os.tcgetpgrp(0) == os.getpgrp()


def usable():
    """Whether standard input is a terminal that we may read from."""
    return os.isatty(0) and in_foreground()


class Terminal(Stdio):
    """Standard input, raw, and standard output. sources() raises Escape when the user
    asked for it."""

    def __init__(self):
        super().__init__()
        self._typed = bytearray()
        self._prefixed = False
        self._key = None
        self._saved = termios.tcgetattr(0)
        self._ended = False
        self._before = signal.signal(signal.SIGTSTP, self._stop)
        try:
            self._take()
        except BaseException:
            self.close()
            raise

    def close(self):
        """Restores the terminal, unless it is another process's by now."""
        if self._saved and in_foreground():
            termios.tcsetattr(0, termios.TCSANOW, self._saved)
        if self._saved:
            signal.signal(signal.SIGTSTP, self._before)
        self._saved = None

    def _take(self):
        tty.setraw(0, termios.TCSANOW)
        mode = termios.tcgetattr(0)
        mode[1] = self._saved[1]  # c_oflag
        termios.tcsetattr(0, termios.TCSANOW, mode)

    def _stop(self, number, frame):
        if in_foreground():
            termios.tcsetattr(0, termios.TCSANOW, self._saved)
        os.kill(os.getpid(), signal.SIGSTOP)
        if in_foreground():
            self._take()

    def sources(self, room):
        if self._key:
            raise Escape(self._key)
        return super().sources(len(self._typed) < TYPED_MAX)

    def polled(self, source, events):
        if source == 0:
            self._typed += self._filter(super().read(TYPED_MAX - len(self._typed)))
        self.more = bool(self._typed)

    def read(self, size):
        data = bytes(self._typed[:size])
        del self._typed[:size]
        self.more = bool(self._typed)
        return data

    def _filter(self, data):
        """What of data goes to the guest."""
        kept = bytearray()
        for byte in data:
            if self._prefixed:
                self._prefixed = False
                if byte == PREFIX:
                    kept.append(byte)
                else:
                    self._command(chr(byte))
            elif byte == PREFIX:
                self._prefixed = True
            else:
                kept.append(byte)
        return kept

    def _command(self, key):
        if key in "xd":
            self._key = key
        elif key == "?":
            print(HELP, file=sys.stderr, flush=True)
