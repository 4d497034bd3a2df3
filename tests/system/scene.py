# SPDX-License-Identifier: MIT
"""A VM to be rude to, with a good client beside the rude ones: after each of them the
guest's own count says that it goes on, and the log what was said about them.
"""

import re

from devices import PORT, counts
from harness import PROMPT, eventually
from raw import Ledger, Peer, claim

from kvmcpu import schema

RUDE_PORT = PORT + 16


class Scene:
    """A VM to be rude to. vCPU 0 reads PORT for ever, from a good client of this
    process, which answers when goes_on() asks; vCPU 1 is paused before its first
    read of RUDE_PORT. What the daemon logs as warnings is counted."""

    def __init__(self, start, guest, *options):
        self.daemon = start(*guest("loop", cpus=2, KIND=1, N=0, PORT=PORT, STRIDE=16), "--paused",
                            *options)
        self.control = self.daemon.control()
        self.ledger, self.expected = Ledger(), 0
        self.good = Peer(self.daemon, "device")
        self.good.greet("device", name="good", claims=[claim(PORT, name="good")])
        self.control.resume([0])
        self.goes_on()

    def warnings(self):
        return [line for line in self.daemon.stderr.splitlines() if ": warn: " in line]

    def said(self, pattern, times=1):
        """The daemon has logged one warning more, or times, and each matches."""
        self.expected += times
        eventually(f"a warning like {pattern!r}", lambda: len(self.warnings()) >= self.expected,
                   PROMPT)
        for line in self.warnings()[-times:]:
            assert re.search(pattern, line), line
        return self.warnings()[-1]

    def goes_on(self):
        """The guest goes on by what the good client answers, and nothing else was logged."""
        before = counts(self.control)[0]
        self.good.serve(self.ledger, 3)
        assert self.good.readable(), "no further exit comes"
        assert counts(self.control)[0] == before + 3
        assert len(self.warnings()) == self.expected, self.warnings()

    def rude(self, role="device", **options):
        """A greeted connection; a device's claims RUDE_PORT, and vCPU 1 reads there."""
        peer = Peer(self.daemon, role)
        if role == "device":
            options.setdefault("claims", [claim(RUDE_PORT, name="rude")])
        peer.greet(role, name="rude", **options)
        return peer

    def refused(self, link, status, pattern):
        """The Hello just sent is refused with that message, to the peer and to the log."""
        reply = link.welcome()
        assert reply is not None, "closed without a HelloReply"
        assert reply.status == status and re.search(pattern, reply.message), reply
        assert (reply.major, reply.client_id) == (schema.PROTOCOL_MAJOR, 0)
        assert link.receive_some() == b"", "the connection lives on"
        assert reply.message in self.said("refused")
        link.close()
        self.goes_on()
