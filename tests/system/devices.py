# SPDX-License-Identifier: MIT
"""Devices that the tests serve from threads of their own, and short ways to look
at what guests and daemon counted.
"""

import struct
import threading

import kvmcpu
from guests import COUNTS
from harness import DEADLINE
from kvmcpu.schema import control, event

PORT = 0x500
SUMS, STOP, RESULTS, SOURCE, TARGET = 0x9200, 0x9400, 0x9800, 0xA000, 0x10000

IDLE, RUNNING = event.VCPU_STATE_IDLE, event.VCPU_STATE_RUNNING
WAITING, STOPPED = event.VCPU_STATE_WAITING_REPLY, event.VCPU_STATE_STOPPED
WAIT_REPLY, WAIT_TURN = control.WAIT_CAUSE_REPLY, control.WAIT_CAUSE_TURN
WAIT_ABSENT = control.WAIT_CAUSE_ABSENT


class Counter(kvmcpu.Device):
    """Takes writes and answers reads at ports PORT to PORT + 63, and remembers them.

    reads give the number of the read by this vCPU: 1, 2, 3 ...
    """

    ticks = 0

    def __init__(self, base=0, fill=None):
        self.base, self.fill = base, fill
        self.writes, self.reads = {}, {}  # by vCPU: values written, number of reads

    @kvmcpu.pio_write(PORT, PORT + 63)
    def write(self, access):
        self.writes.setdefault(access.vcpu, []).append(access.value)
        return self.ticks

    @kvmcpu.pio_read(PORT, PORT + 63)
    def read(self, access):
        number = self.reads[access.vcpu] = self.reads.get(access.vcpu, 0) + 1
        return number, self.ticks

    @property
    def total(self):
        return sum(self.reads.values()) + sum(map(len, self.writes.values()))


class Gate(Counter):
    """A Counter whose n-th write waits inside the device until open() lets it go."""

    def __init__(self, at=1):
        super().__init__()
        self._at = at
        self.entered, self._go = threading.Event(), threading.Event()

    def open(self):
        self._go.set()

    def write(self, access):
        ticks = super().write(access)
        if self.total == self._at:
            self.entered.set()
            assert self._go.wait(DEADLINE), "nobody opened the gate"
        return ticks


def counts(control_client, vcpus=1, address=COUNTS):
    """The guests' own counters, one for each vCPU."""
    return list(struct.unpack(f"<{vcpus}Q", control_client.read_memory(address, 8 * vcpus)))


def all_in(*states):
    """A predicate for Control.wait_until: every vCPU is in one of states."""
    return lambda status: all(vcpu.state in states for vcpu in status.vcpus)


def halted(control_client, timeout=DEADLINE):
    """Waits until every vCPU is idle; returns that Status."""
    return control_client.wait_until(all_in(IDLE), timeout)


def exits_of(monitor, until):
    """Events up to and with the first for which until(event) is true."""
    seen = []
    for happened in monitor:
        seen.append(happened)
        if until(happened):
            return seen
    return seen


def total(stats, field):
    """A VcpuStats field, added up over all vCPUs."""
    return sum(getattr(vcpu, field) for vcpu in stats.vcpus)
