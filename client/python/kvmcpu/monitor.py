# SPDX-License-Identifier: MIT
"""The monitor's side: a stream of a VM's events that costs the VM nothing.

The daemon waits for no monitor. One that reads too slowly is overtaken, and the
stream says which events passed it; this module counts them and can hand the
reports out between the events, where the gap is.
"""

import collections

from . import schema
from .connection import open_connection
from .errors import Closed
from .memory import GuestMemory
from .schema import event, exit_, hello


def make_filter(vcpus=(), kinds=(), ranges=(), states=True):
    """A Filter message.

    vcpus are indices; kinds are EXIT_KIND_* numbers or names ("pio"); ranges
    are (space, first) or (space, first, last), with a space's number or name, or
    AddressRange messages. An empty list does not narrow; the lists are joined by
    "and", entries of one by "or". At most 64 entries each. states=False leaves
    out changes of state. Raises ValueError for a name that does not exist.
    """
    made = hello.Filter(vcpus=vcpus, no_states=not states)
    made.kinds.extend(schema.enum_number(exit_.ExitKind, "EXIT_KIND_", kind) for kind in kinds)
    for item in ranges:
        if not isinstance(item, hello.AddressRange):
            space, first, *last = item
            number = schema.enum_number(hello.Space, "SPACE_", space)
            item = hello.AddressRange(space=number, first=first, last=last[0] if last else first)
        made.ranges.append(item)
    return made


class Monitor:
    """An iterator over a VM's Event messages, from the moment of connecting.

    The filter's arguments are make_filter()'s. losses=True puts Loss messages
    between the events, each where the gap is. timeout is how long next() waits,
    in seconds, before it raises Timeout; iterating may go on after that. The
    iteration ends when the VM does. want_memory asks for guest memory: memory
    is then a read-only GuestMemory, else None.

    lost is {vcpu: events lost}, lost_total their sum; both count before the
    filter. Raises on connecting what every connection does.
    """

    def __init__(self, vm="default", runtime_dir=None, name=None, vcpus=(), kinds=(), ranges=(),
                 states=True, losses=False, timeout=None, want_memory=False):
        wanted = make_filter(vcpus, kinds, ranges, states)
        greeting = hello.Hello(takes_descriptors=want_memory, monitor=hello.MonitorHello(
            filter=wanted, want_memory=want_memory))
        self._connection, reply = open_connection("monitor", greeting, vm, runtime_dir, name)
        self.vm = reply.vm
        self.daemon_version = reply.daemon_version
        self.client_id = reply.client_id
        self.timeout = timeout
        self.losses = losses
        self.lost = collections.Counter()
        self.memory = self._map_memory(reply.memory)
        self._pending = collections.deque()

    def _map_memory(self, memory_map):
        if not memory_map.descriptor_follows:
            return None
        try:
            return GuestMemory(memory_map, self._connection.take_descriptor())
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        """The stream's descriptor, readable when a batch of events, or the end, is there.

        Events of a batch already read do not show there: see pending.
        """
        return self._connection.fileno()

    def close(self):
        """Ends the stream. A memory that was asked for stays mapped until its own close()."""
        self._connection.close()

    @property
    def pending(self):
        """How many events next() gives without reading."""
        return len(self._pending)

    @property
    def lost_total(self):
        """Events lost so far, over all vCPUs."""
        return sum(self.lost.values())

    def set_filter(self, vcpus=(), kinds=(), ranges=(), states=True):
        """Puts another filter in force. Events already on their way are still of the old one."""
        self._connection.send(make_filter(vcpus, kinds, ranges, states))

    def __iter__(self):
        return self

    def __next__(self):
        while not self._pending:
            try:
                batch = self._connection.receive(event.EventBatch(), self.timeout)
            except Closed:
                raise StopIteration from None
            self._take(batch)
        return self._pending.popleft()

    def _take(self, batch):
        for loss in batch.losses:
            self.lost[loss.vcpu] += loss.count
        if not (self.losses and batch.losses):
            self._pending.extend(batch.events)
            return
        gaps = sorted(batch.losses, key=lambda loss: loss.first_seq)
        for happened in batch.events:
            before = [g for g in gaps if g.vcpu == happened.vcpu and g.first_seq < happened.seq]
            self._pending.extend(before)
            gaps = [gap for gap in gaps if gap not in before]
            self._pending.append(happened)
        self._pending.extend(gaps)
