# SPDX-License-Identifier: MIT
"""The kernel's own count of returns to user space, by perf."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import subprocess

TRACEFS = pathlib.Path("/sys/kernel/tracing")
EVENT = "kvm:kvm_userspace_exit"


class Unavailable(Exception):
    """The count cannot be had here; the text says why."""


@contextlib.contextmanager
def tracepoint():
    """Has the tracepoint usable meanwhile."""
    if not shutil.which("perf"):
        raise Unavailable("perf is missing")
    mounted = None
    if not (TRACEFS / "events").exists():
        if os.geteuid() != 0:
            raise Unavailable(f"{TRACEFS}: tracefs is not mounted, and only root can mount it")
        done = subprocess.run(["mount", "-t", "tracefs", "tracefs", TRACEFS],
                              capture_output=True, text=True)
        if done.returncode:
            raise Unavailable(f"{TRACEFS}: {done.stderr.strip()}")
        mounted = TRACEFS
    try:
        if not (TRACEFS / "events" / EVENT.replace(":", "/")).exists():
            raise Unavailable(f"this kernel has no tracepoint {EVENT}")
        yield
    finally:
        if mounted:
            subprocess.run(["umount", mounted], check=False)


class Perf:
    """perf stat of one tracepoint on one process, counting from begin() to end()."""

    def __init__(self, daemon, directory):
        self._out = directory / "perf.txt"
        ready, tell = os.pipe()
        ack, told = os.pipe()
        self._tell, self._ack = tell, ack
        self._process = daemon.spawn(
            ["perf", "stat", "-e", EVENT, "-x", ";", "-p", daemon.pid, "-o", self._out,
             "-D", "-1", "--control", f"fd:{ready},{told}"], "perf", pass_fds=[ready, told])
        os.close(ready)
        os.close(told)

    def begin(self):
        self._say(b"enable\n")

    def end(self):
        """The count."""
        self._say(b"disable\n")
        self._process.signal(signal.SIGINT)
        self._process.wait()
        os.close(self._tell)
        os.close(self._ack)
        found = re.search(rf"^(\d+);;{EVENT};", self._out.read_text(), re.MULTILINE)
        assert found, self._out.read_text() + self._process.stderr
        return int(found[1])

    def _say(self, word):
        os.write(self._tell, word)
        assert b"ack" in os.read(self._ack, 16), self._process.stderr
