# SPDX-License-Identifier: MIT
"""A person at the serial console, as the tests and the demo play one.

Console types at a guest's shell over a Unix socket (what --serial unix:PATH
offers) and reads what comes back. Every wait has a deadline and fails with what
it waited for and what came instead.
"""

import re
import select
import socket
import time

READY = re.compile(rb"guest is up: Linux (\S+), (\d+) CPUs?\r?\n")  # image.py's greeting
PROMPT = re.compile(rb"# (?:\x1b\[6n)?$")  # busybox asks the terminal where its cursor is


class Silence(Exception):
    """What was waited for did not come; the text says what did."""


class Console:
    """The other end of a serial line.

    path     the socket on which the device process listens
    timeout  seconds that a wait takes at most, unless it says otherwise
    copy     called with the bytes as they come, or None
    """

    def __init__(self, path, timeout=60.0, copy=None):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._timeout, self._copy = timeout, copy
        self._came = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self._socket.close()

    def type(self, data):
        """Sends data, bytes or str, as fast as the line takes it."""
        self._socket.sendall(data.encode() if isinstance(data, str) else data)

    def _more(self, deadline, what):
        left = max(0.0, deadline - time.monotonic())
        if not select.select([self._socket], [], [], left)[0]:
            raise Silence(f"{what} did not come; the last that came: {self._came[-300:]!r}")
        data = self._socket.recv(65536)
        if not data:
            raise Silence(f"the console ended before {what} came; the last that came: "
                          f"{self._came[-300:]!r}")
        if self._copy:
            self._copy(data)
        self._came += data

    def expect(self, pattern, timeout=None):
        """Waits for the regular expression pattern (bytes); its match. What came
        before it is forgotten."""
        deadline = time.monotonic() + (timeout or self._timeout)
        compiled = re.compile(pattern) if isinstance(pattern, bytes) else pattern
        while not (found := compiled.search(self._came)):
            self._more(deadline, repr(compiled.pattern))
        self._came = self._came[found.end():]
        return found

    def read(self, size, timeout=None):
        """The next size bytes as they are."""
        deadline = time.monotonic() + (timeout or self._timeout)
        while len(self._came) < size:
            self._more(deadline, f"{size} bytes ({len(self._came)} did)")
        data, self._came = self._came[:size], self._came[size:]
        return data

    def until_end(self, timeout=None):
        """Everything until the line ends, as it does with its device."""
        deadline = time.monotonic() + (timeout or self._timeout)
        try:
            while True:
                self._more(deadline, "the end")
        except Silence as silence:
            if "ended before" not in str(silence):
                raise
        return self._came

    def wait_ready(self, timeout=None):
        """Waits for the shell of a guest that boots; the kernel's release and how many
        CPUs it found."""
        found = self.expect(READY, timeout)
        self.expect(PROMPT, timeout)
        return found[1].decode(), int(found[2])

    def run(self, command, timeout=None):
        """Has the shell run command: its exit status and what it printed, str.

        The echo of what is typed has the words of the end's mark apart, so it is not
        taken for the mark.
        """
        self.type(f"{command}; echo '<'\"$?\"'>'\n")
        self.expect(rb"\r\n", timeout)  # the echo
        found = self.expect(rb"(?s)(.*)<(\d+)>\r\n", timeout)
        self.expect(PROMPT, timeout)
        return int(found[2]), found[1].decode(errors="replace").replace("\r\n", "\n")

    def check(self, command, timeout=None):
        """What command printed, without the last newline; it must succeed."""
        status, text = self.run(command, timeout)
        if status:
            raise Silence(f"{command!r} failed in the guest with status {status}: {text}")
        return text.rstrip("\n")
