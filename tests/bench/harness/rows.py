# SPDX-License-Identifier: MIT
"""Which rows there are, how each is measured, and what it is held against.

Names are stable: scripts compare runs by them. The order is that of the turns
within a round; a row stands close to its reference, so that both are taken at
the same speed of the machine. The reaches are those of DESIGN's table of
numbers.
"""

import fnmatch
from dataclasses import dataclass
from typing import Callable

from . import cases, linux

RATIO = "ratio"  # reach bounds the median of the rounds' ratios of medians
MORE = "more"    # reach bounds the median of the rounds' differences, microseconds
KIB = "kib"      # the case's values are KiB, and reach bounds their median


@dataclass(frozen=True)
class Row:
    name: str
    make: Callable  # of the setting: the case
    reference: str | None = None
    reach: float | None = None
    kind: str = RATIO
    rounds: int | None = None  # at most so many, where one says enough


def _reference(*arguments):
    return lambda setting: cases.Reference(setting, *arguments)


def _client(case, *arguments):
    return lambda setting: case(setting, *arguments)


SOCKET_REACH = 1.10
LINUX_ROUNDS = 5
ROWS = (
    Row("inprocess.pio.read", _reference("pio")),
    Row("unclaimed.pio", _client(cases.Unclaimed, "pio"), "inprocess.pio.read"),
    Row("inprocess.mmio.read", _reference("mmio")),
    Row("unclaimed.mmio", _client(cases.Unclaimed, "mmio"), "inprocess.mmio.read"),
    Row("forwarder.same-core", _reference("pio", "same-core"), "inprocess.pio.read"),
    Row("socket.c.same-core", _client(cases.SocketC, "pio", "same-core"),
        "forwarder.same-core", SOCKET_REACH),
    Row("socket.python.same-core", _client(cases.SocketPython, "pio", "same-core"),
        "forwarder.same-core"),
    Row("forwarder.cross-core", _reference("pio", "cross-core"), "inprocess.pio.read"),
    Row("socket.c.cross-core", _client(cases.SocketC, "pio", "cross-core"),
        "forwarder.cross-core", SOCKET_REACH),
    Row("socket.python.cross-core", _client(cases.SocketPython, "pio", "cross-core"),
        "forwarder.cross-core"),
    Row("forwarder.mmio.same-core", _reference("mmio", "same-core"), "inprocess.mmio.read"),
    Row("socket.c.mmio.same-core", _client(cases.SocketC, "mmio", "same-core"),
        "forwarder.mmio.same-core", SOCKET_REACH),
    Row("forwarder.mmio.cross-core", _reference("mmio", "cross-core"), "inprocess.mmio.read"),
    Row("socket.c.mmio.cross-core", _client(cases.SocketC, "mmio", "cross-core"),
        "forwarder.mmio.cross-core", SOCKET_REACH),
    Row("inprocess.pio.write", _reference("out")),
    Row("inprocess.pio.write.registers", _client(cases.Registers, "out"), "inprocess.pio.write"),
    Row("hypercall.floor", _client(cases.PlainWithRegisters, "out", "same-core")),
    Row("hypercall.c", _client(cases.SocketC, "hypercall", "same-core"), "hypercall.floor", 1.05),
    Row("monitors.0", _client(cases.Quiet, "pio")),
    Row("monitors.8", _client(cases.Watched, "pio"), "monitors.0", 1.05),
    Row("start.floor", cases.Floor),
    Row("start.first-instruction", cases.Start, "start.floor", 10000, MORE),
    Row("linux.qemu-microvm", _client(linux.Qemu, "microvm"), rounds=LINUX_ROUNDS),
    Row("linux.qemu-pc", _client(linux.Qemu, "pc"), "linux.qemu-microvm", rounds=LINUX_ROUNDS),
    Row("linux.c", _client(linux.Kvmcpud, "c"), "linux.qemu-microvm", 1.20, rounds=LINUX_ROUNDS),
    Row("linux.python", _client(linux.Kvmcpud, "python"), "linux.qemu-microvm",
        rounds=LINUX_ROUNDS),
    Row("memory.resident.1", cases.Memory, None, 8192, KIB, rounds=3),
    Row("memory.resident.per-vcpu", cases.MemoryPerVcpu, None, 1024, KIB, rounds=3),
)
BY_NAME = {row.name: row for row in ROWS}


def choose(patterns):
    """The rows that patterns name (a name, its beginning up to a dot, or with wildcards),
    and those they refer to, in order. Raises ValueError for a pattern that names none."""
    wanted = set()
    for pattern in patterns or ["*"]:
        found = {name for name in BY_NAME
                 if name.startswith(pattern + ".") or fnmatch.fnmatchcase(name, pattern)}
        if not found:
            raise ValueError(f"there is no row {pattern!r}; there are: {', '.join(BY_NAME)}")
        wanted |= found
    for name in list(wanted):
        reference = BY_NAME[name].reference
        while reference:
            wanted.add(reference)
            reference = BY_NAME[reference].reference
    return [row for row in ROWS if row.name in wanted]
