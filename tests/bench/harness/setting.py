# SPDX-License-Identifier: MIT
"""Where and with what is measured: the build's programs, two CPUs, how many exits."""

import os
import pathlib
import subprocess
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[3]
PROGRAMS = ("kvmcpud", "kvmcpuctl", "tests/bench/reference", "tests/bench/client",
            "tests/bench/watch", "tests/bench/monitors", "tests/bench/floor")
TIMEOUT_S = 60  # picked: no measurement of one round takes a tenth of it

# Where images are loaded and entered, in flat 32-bit mode. The programs are
# endless loops around one access.
GUEST_GPA = 0x10000
PORT, MMIO = 0x500, 0xD0000000
HYPERCALL_PORT, HYPERCALL = 0xE4, 1  # the daemon's default port; the number that is called
GUESTS = {
    # mov $0x500,%dx; 1: in %dx,%al; jmp 1b
    "pio": bytes.fromhex("66ba0005 ec ebfd"),
    # 1: mov 0xd0000000,%al; jmp 1b
    "mmio": bytes.fromhex("a0000000d0 ebf9"),
    # 1: mov $1,%eax; out %eax,$0xe4; jmp 1b
    "out": bytes.fromhex("b801000000 e7e4 ebf7"),
}
GUESTS["hypercall"] = GUESTS["out"]
ADDRESSES = {"pio": PORT, "mmio": MMIO, "out": HYPERCALL_PORT, "hypercall": HYPERCALL}


class Unavailable(Exception):
    """This row cannot be measured here; the text says why."""


class Failed(Unavailable):
    """A program of the bench went wrong."""


def _siblings(cpu):
    """The CPUs that share cpu's core."""
    try:
        text = pathlib.Path(
            f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
    except OSError:
        return {cpu}
    found = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


def _two_cpus():
    """The vCPU's CPU, and one on another core or None. The last ones, since interrupts
    tend to the first."""
    cpus = sorted(os.sched_getaffinity(0), reverse=True)
    others = [cpu for cpu in cpus[1:] if cpu not in _siblings(cpus[0])]
    return cpus[0], (others[0] if others else None)


class Setting:
    """Everything that cases need to know. exits is how many each case measures in a round."""

    def __init__(self, build, exits):
        self.build = pathlib.Path(build)
        self.exits = exits
        self.warm_up = max(100, exits // 10)  # caches and branch predictors
        self.cpu, self.other = _two_cpus()
        self._dir = tempfile.TemporaryDirectory(prefix="kvmcpud-bench-")
        self.dir = pathlib.Path(self._dir.name)
        for name, code in GUESTS.items():
            (self.dir / name).write_bytes(code)

    def close(self):
        self._dir.cleanup()

    def missing(self):
        """The programs that are not built."""
        return [name for name in PROGRAMS if not (self.build / name).exists()]

    def program(self, name):
        return str(self.build / name)

    def guest(self, name):
        return str(self.dir / name)

    def other_cpu(self):
        if self.other is None:
            raise Unavailable("needs two CPUs on different cores; this process may use one")
        return self.other

    def place(self, placement):
        """The CPU of whoever answers the vCPU."""
        return self.cpu if placement == "same-core" else self.other_cpu()

    def python(self):
        """The interpreter that has protobuf, as configure found it, and its environment."""
        lines = (self.build / "Makefile").read_text().splitlines()
        found = [line.partition("=")[2].strip() for line in lines if line.startswith("PYTHON =")]
        if not found or found[0] == ":":
            raise Unavailable("configure found no Python 3 with protobuf (Debian: python3-protobuf)")
        path = f"{TOP / 'client' / 'python'}:{self.build / 'client' / 'python'}"
        return found[0], dict(os.environ, PYTHONPATH=path)

    def run(self, argv, **options):
        """Runs a program of the bench to its end and returns its standard output."""
        try:
            done = subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL,
                                  capture_output=True, timeout=TIMEOUT_S, check=False, **options)
        except subprocess.TimeoutExpired:
            raise Failed(f"{argv[0]} did not end within {TIMEOUT_S} s") from None
        if done.returncode != 0:
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise Failed(words[-1] if words else f"{argv[0]} ended with {done.returncode}")
        return done.stdout
