# SPDX-License-Identifier: MIT
"""Waiting for an exit and for what devices wait for, in one poll(2).

A Waiter asks the devices that act on their own for their sources and deadlines
before each wait. The kernel is only told when the sources have changed, so a
device that always gives the same list costs a comparison. Devices that have
neither never meet this file: a channel alone is read without asking first.
"""

import select
import time

from .device import Device
from .errors import Timeout


def acts(device):
    """Whether device has sources or deadlines of its own."""
    kind = type(device)
    return kind.sources is not Device.sources or kind.deadline is not Device.deadline


def descriptor_of(source):
    return source if isinstance(source, int) else source.fileno()


class Waiter:
    """Waits for channel (a descriptor) on behalf of devices; one thread.

    do(device, effects) is called with what a handler returned.
    """

    def __init__(self, channel, devices, do):
        self._devices = devices
        self._do = do
        self._channel = channel
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)
        self._wanted = []
        self._watched = {}  # descriptor: its (device, source, events, handler), one or more

    def wait(self, timeout=None):
        """Returns when the channel is readable; serves the devices meanwhile.

        Raises Timeout after timeout seconds, and what a handler raises.
        """
        limit = None if timeout is None else time.monotonic() + timeout
        while True:
            self._watch()
            ready = self._poll.poll(self._pause(limit))
            came = False
            for descriptor, events in ready:
                if descriptor == self._channel:
                    came = True
                else:
                    self._handle(descriptor, events)
            self._expire()
            if came:
                return
            if limit is not None and time.monotonic() >= limit:
                raise Timeout("nothing came from the daemon in time")

    def _watch(self):
        """Tells poll what the devices wait for now, if that is something else than before."""
        wanted = [(device, *entry) for device in self._devices for entry in device.sources()]
        if wanted == self._wanted:
            return
        watched = {}
        for entry in wanted:
            watched.setdefault(descriptor_of(entry[1]), []).append(entry)
        for descriptor in self._watched.keys() - watched.keys():
            self._poll.unregister(descriptor)
        for descriptor, entries in watched.items():
            self._poll.register(descriptor, _joined(entries))
        self._wanted, self._watched = wanted, watched

    def _pause(self, limit):
        """Milliseconds until the next deadline or the limit, rounded up; None for ever."""
        moments = [device.deadline() for device in self._devices]
        moments = [moment for moment in (*moments, limit) if moment is not None]
        if not moments:
            return None
        return max(0, (min(moments) - time.monotonic()) * 1000 + 0.999)

    def _handle(self, descriptor, events):
        if events & select.POLLNVAL:
            device = self._watched[descriptor][0][0]
            raise ValueError(f"{type(device).__name__}.sources() names descriptor {descriptor}, "
                             "which is not open")
        for device, source, mask, handler in self._watched[descriptor]:
            if events & (mask | select.POLLHUP | select.POLLERR):
                self._do(device, handler(source, events))

    def _expire(self):
        for device in self._devices:
            moment = device.deadline()
            if moment is not None and moment <= time.monotonic():
                self._do(device, device.expired())


def _joined(entries):
    mask = 0
    for entry in entries:
        mask |= entry[2]
    return mask
