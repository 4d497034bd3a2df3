# SPDX-License-Identifier: MIT
"""A VM whose guest knocks at one port for ever and counts, and the books that are kept
on it: the devices' ledger on one side, the guest's count and sum on the other.
"""

import struct
import time

from devices import IDLE, PORT, STOP, SUMS, WAIT_ABSENT, WAITING, counts
from raw import Ledger, Peer, Victim, claim

from kvmcpu import schema

SERVICE = schema.event.VCPU_STATE_RUNNING_SERVICE
DIRECTIONS = {"read": 1, "write": 0}  # loop.S's KIND


class Machine:
    """One paused VM whose guest knocks at PORT for ever, its ledger, and a controller."""

    def __init__(self, start, guest, direction="read", cpus=1, port=PORT):
        self.reads = direction == "read"
        self.daemon = start(*guest("loop", cpus=cpus, KIND=DIRECTIONS[direction], N=0, PORT=port),
                            "--paused")
        self.cpus, self.ledger = cpus, Ledger()
        self.control = self.daemon.control()

    def victim(self, *claims, name="victim", **options):
        """A process that has claimed PORT, or claims, and read its HelloReply."""
        link = Victim(self.daemon)
        link.greet("device", name=name, claims=claims or [claim(PORT, name="knock")], **options)
        return link

    def successor(self, *claims, name="successor", **options):
        """A client of this process that takes over."""
        link = Peer(self.daemon, "device")
        link.greet("device", name=name, claims=claims or [claim(PORT, name="knock")], **options)
        return link

    def wait(self, vcpu=0):
        """What a vCPU waits for, by Status."""
        return self.control.status().vcpus[vcpu].wait

    def wait_for(self, cause, vcpu=0):
        """The Status, and the VcpuStatus, in which the vCPU waits for that cause. An absent
        owner makes it WAITING a moment later."""
        states = (WAITING,) if cause == WAIT_ABSENT else (SERVICE, WAITING)
        status = self.control.wait_until(
            lambda s: s.vcpus[vcpu].wait.cause == cause and s.vcpus[vcpu].state in states)
        return status, status.vcpus[vcpu]

    def finish(self, link, filled=0, value=0):
        """Ends the guest's loops, answering what still comes, and adds up. filled accesses
        were answered with value by the daemon."""
        self.control.write_memory(STOP, b"\1")
        while any(vcpu.state != IDLE for vcpu in self.control.status().vcpus):
            if link.readable(0.01):
                link.serve(self.ledger)
        served = [self.ledger.values.get(vcpu, []) for vcpu in range(self.cpus)]
        done = counts(self.control, self.cpus)
        assert sum(done) == sum(map(len, served)) + filled, "accesses lost or done twice"
        sums = struct.unpack(f"<{self.cpus}Q", self.control.read_memory(SUMS, 8 * self.cpus))
        for vcpu, values in enumerate(served):
            if self.reads:
                assert filled or values == list(range(1, done[vcpu] + 1))
                assert sums[vcpu] == (sum(values) + filled * value) & 0xFFFFFFFF
            elif not filled:
                assert values == list(range(1, done[vcpu] + 1)), "a write was lost or done twice"
        return done


def check_absent(status, vcpu, since, client="victim"):
    """Status tells who waits for whom, since when."""
    wait = vcpu.wait
    assert (wait.cause, wait.claim, wait.client) == (WAIT_ABSENT, "knock", client)
    assert (wait.kind, wait.address, wait.size_bytes) == (schema.exit_.EXIT_KIND_PIO, PORT, 4)
    assert wait.exit_seq == vcpu.exit_seq > 0
    assert since <= wait.since_ns <= status.now_ns <= time.monotonic_ns()
