# SPDX-License-Identifier: MIT
"""Devices: a class whose decorated methods answer for ranges of addresses.

A decorator leaves the method as it is and notes on it which range it serves;
routing.py gathers the notes into claims. One method may carry several
decorators. A handler takes an Access and returns

    of a read       an int or bytes, or (int or bytes, ticks), or a Reply
    of a write      None, or ticks, or a Reply
    of a hypercall  as of a read, or None: the guest's rax becomes 0
    of a halt       as of a write

Ranges are inclusive; last=None means one address. sizes are the widths in
bytes that the registers have: an access of another width, or in a direction
for which there is no handler, is refused as a bus error (the guest reads all
ones, a write is dropped), so that both the device's `refused` and the
daemon's own statistics count it.

A string access (count > 1) calls the handler once per element, joins the data
and adds up the ticks; with whole=True the handler gets it in one piece and
returns bytes of size * count. If one element ends in a bus error, all do.

A device that acts on its own overrides sources(), deadline() or both: it gets
called when a descriptor is ready or a moment has come, and gives back effects,
which the server carries out over a control connection. One whose registers
should outlast its process overrides save() and restore().

fill says what becomes of accesses while no client serves the range: None, the
vCPU waits until somebody claims it again; an int, reads give that and writes
are dropped. Of two handlers that share an address, one's word is enough.
"""

from dataclasses import dataclass

READ, WRITE = 0, 1
RANGES = "__kvmcpu_ranges__"

LIMITS = {"pio": 0xFFFF, "mmio": 2**64 - 1, "hypercall": 2**64 - 1, "msr": 2**32 - 1, "halt": 0}
_SIZES = {"pio": (1, 2, 4), "mmio": tuple(range(1, 9)), "hypercall": (8,), "msr": (8,),
          "halt": (0,)}


@dataclass(frozen=True)
class Range:
    """What one decorator says: a handler's addresses, direction and widths."""

    space: str
    slot: int
    first: int
    last: int
    sizes: frozenset
    whole: bool = False
    fill: int | None = None


def _checked(space, slot, first, last, sizes, whole, fill):
    last = first if last is None else last
    sizes = frozenset((sizes,) if isinstance(sizes, int) else sizes)
    if not 0 <= first <= last <= LIMITS[space]:
        raise ValueError(f"{space} {first:#x} to {last:#x} is no range: first must not exceed "
                         f"last, nor last {LIMITS[space]:#x}")
    if not sizes or not sizes.issubset(_SIZES[space]):
        raise ValueError(f"sizes={sorted(sizes)}: {space} has sizes {list(_SIZES[space])}")
    if fill is not None and not 0 <= fill < 2**64:
        raise ValueError(f"fill={fill} is no 64-bit unsigned value")
    return Range(space, slot, first, last, sizes, whole, fill)


def _decorator(*arguments):
    served = _checked(*arguments)

    def note(method):
        setattr(method, RANGES, getattr(method, RANGES, ()) + (served,))
        return method

    return note


def pio_read(first, last=None, *, sizes=(1, 2, 4), whole=False, fill=None):
    """The method answers reads of IO ports first to last, 0 to 0xffff."""
    return _decorator("pio", READ, first, last, sizes, whole, fill)


def pio_write(first, last=None, *, sizes=(1, 2, 4), whole=False, fill=None):
    """The method takes writes to IO ports first to last, 0 to 0xffff."""
    return _decorator("pio", WRITE, first, last, sizes, whole, fill)


def mmio_read(first, last=None, *, sizes=(1, 2, 4, 8), fill=None):
    """The method answers reads of guest-physical addresses first to last."""
    return _decorator("mmio", READ, first, last, sizes, False, fill)


def mmio_write(first, last=None, *, sizes=(1, 2, 4, 8), fill=None):
    """The method takes writes to guest-physical addresses first to last."""
    return _decorator("mmio", WRITE, first, last, sizes, False, fill)


def hypercall(first, last=None, *, fill=None):
    """The method answers the hypercalls with numbers first to last."""
    return _decorator("hypercall", READ, first, last, (8,), False, fill)


def msr_read(first, last=None, *, fill=None):
    """The method answers RDMSR of the indices first to last."""
    return _decorator("msr", READ, first, last, (8,), False, fill)


def msr_write(first, last=None, *, fill=None):
    """The method takes WRMSR to the indices first to last."""
    return _decorator("msr", WRITE, first, last, (8,), False, fill)


def halt(*, fill=None):
    """The method is told of every HLT."""
    return _decorator("halt", WRITE, 0, 0, (0,), False, fill)


class Device:
    """Base of all devices; a subclass decorates methods and keeps its own state.

    name     the claims' name in status and statistics; the class's by default
    base     added to the addresses of pio and mmio ranges, so that one class
             serves at several places: set it on the instance
    fill     the default of the decorators' fill
    refused  accesses answered as bus errors for their size or direction
    failed   accesses whose handler raised an exception
    """

    name = ""
    base = 0
    fill = None
    refused = 0
    failed = 0

    def attached(self, vm):
        """Called with the VM's VmInfo (vcpus, memory_bytes, ticks_per_second, irqchip)
        when the daemon has granted the claims, before the first access."""

    def sources(self):
        """What to wait for besides exits: a list of (source, events, handler).

        source is a descriptor or has fileno(), events is select.POLLIN,
        select.POLLOUT or both. When it is ready the server calls handler(source,
        events) with what poll(2) said, POLLHUP and POLLERR among it. The handler
        returns effects, or None. Asked before each wait, in the server's thread,
        so the list may change at any time; leave a source out while nothing can be
        done with it, or the server does not come to rest.
        """
        return ()

    def deadline(self):
        """When to call expired(), in seconds of time.monotonic(), or None. Asked before
        each wait."""
        return None

    def expired(self):
        """Called once deadline() has passed; returns effects, or None."""

    def save(self):
        """What the device keeps for the process after this one, in a server with a
        state file: {name: bytes}, names of at most 8 ASCII letters. Called when an
        exit or a source may have changed it."""
        return {}

    def restore(self, sections):
        """Called before the first access, in a server with a state file.

        sections is what all devices of this VM saved last, {name: bytes}, where
        one may be missing; or None for a VM that has just started. Returns effects
        that bring the VM in line with it, or None: interrupt lines are set anew.
        Raises ValueError for bytes that it cannot have saved.
        """

    @classmethod
    def served_methods(cls):
        """{method name: its Ranges}. A method that overrides a decorated one without
        decorators of its own serves the same ranges; setting the name to None drops them."""
        served = {}
        for owner in reversed(cls.__mro__):
            for name, attribute in vars(owner).items():
                ranges = getattr(attribute, RANGES, ())
                if ranges:
                    served[name] = ranges
                elif attribute is None:
                    served.pop(name, None)
        return served
