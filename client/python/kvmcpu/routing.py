# SPDX-License-Identifier: MIT
"""From devices to claims, and from an address to its handlers.

All ranges of one space are cut at each other's boundaries; every piece has at
most one handler for reads and one for writes and becomes one claim. So a read
handler over 0x60-0x64 and a write handler for 0x64 alone make two claims,
0x60-0x63 and 0x64. Two handlers for the same direction of one address are an
error, whichever devices they belong to.
"""

from bisect import bisect_right

from . import schema
from .device import LIMITS, READ, Device
from .schema import hello


class Handler:
    """A bound method and what its decorator said of it."""

    __slots__ = ("call", "device", "first", "last", "sizes", "whole", "fill", "label")

    def __init__(self, device, method, served):
        base = device.base if served.space in ("pio", "mmio") else 0
        self.call = getattr(device, method)
        self.device = device
        self.first = served.first + base
        self.last = served.last + base
        self.sizes = served.sizes
        self.whole = served.whole
        self.fill = device.fill if served.fill is None else served.fill
        self.label = f"{type(device).__name__}.{method}"
        if not 0 <= self.first <= self.last <= LIMITS[served.space]:
            raise ValueError(f"{self.label}: base {base:#x} moves its range to {self.first:#x} to "
                             f"{self.last:#x}, beyond the end of {served.space}")


class Route:
    """One claim: the handlers of a piece that no boundary cuts."""

    __slots__ = ("first", "last", "handlers")

    def __init__(self, first, last, handlers):
        self.first = first
        self.last = last
        self.handlers = handlers  # (reads, writes), either may be None, not both

    @property
    def devices(self):
        """Its devices, each once."""
        return list(dict.fromkeys(h.device for h in self.handlers if h))

    def claim(self, space):
        """The Claim message."""
        names = (device.name or type(device).__name__.lower() for device in self.devices)
        claim = hello.Claim(space=schema.SPACES[space], first=self.first, last=self.last,
                            name="+".join(names)[: schema.MAX_NAME])
        fills = {handler.fill for handler in self.handlers if handler} - {None}
        if len(fills) > 1:
            raise ValueError(f"{' and '.join(h.label for h in self.handlers)} share {space} "
                             f"{self.first:#x} and must say the same fill")
        fill = fills.pop() if fills else None
        claim.absence = hello.ABSENCE_FREEZE if fill is None else hello.ABSENCE_FILL
        claim.fill = fill or 0
        return claim


class Routes:
    """The routes of one space, found by address."""

    def __init__(self, routes):
        self.routes = routes  # ascending, apart from each other
        self._firsts = [route.first for route in routes]

    def find(self, address):
        """The Route that holds address, or None."""
        index = bisect_right(self._firsts, address) - 1
        if index < 0:
            return None
        route = self.routes[index]
        return route if address <= route.last else None


def _gather(devices):
    """{space: [(slot, Handler), ...]}"""
    found = {}
    for device in devices:
        if not isinstance(device, Device):
            raise TypeError(f"{device!r} is no kvmcpu.Device: pass instances of its subclasses")
        for method, ranges in device.served_methods().items():
            for served in ranges:
                handler = Handler(device, method, served)
                found.setdefault(served.space, []).append((served.slot, handler))
    return found


def _pair(space, first, active):
    pair = [None, None]
    for slot, handler in active:
        if pair[slot]:
            way = "reads" if slot == READ else "writes"
            raise ValueError(f"{pair[slot].label} and {handler.label} both serve {way} of {space} "
                             f"{first:#x}: give each address to one of them")
        pair[slot] = handler
    return tuple(pair)


def _cut(space, handlers):
    """The Routes of one space's handlers, in one sweep over their boundaries."""
    starts, bounds = {}, set()
    for entry in handlers:
        starts.setdefault(entry[1].first, []).append(entry)
        bounds.update((entry[1].first, entry[1].last + 1))
    bounds = sorted(bounds)
    routes, active = [], []
    for first, end in zip(bounds, bounds[1:]):
        active = [entry for entry in active if entry[1].last >= first] + starts.get(first, [])
        if active:
            routes.append(Route(first, end - 1, _pair(space, first, active)))
    return Routes(routes)


def build(devices):
    """{space: Routes} for all devices. Raises ValueError where two claim one address."""
    return {space: _cut(space, handlers) for space, handlers in _gather(devices).items()}


def claims(table):
    """The Claim messages of what build() returned, and ValueError if a Hello cannot hold them."""
    made = [route.claim(space) for space, routes in table.items() for route in routes.routes]
    if not made:
        raise ValueError("no device serves anything: decorate its methods with kvmcpu.pio_read "
                         "and its kin")
    if len(made) > schema.MAX_CLAIMS:
        raise ValueError(f"{len(made)} claims: one client may make {schema.MAX_CLAIMS}; merge "
                         "ranges, or serve some devices with another Server")
    return made
