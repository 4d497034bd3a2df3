# SPDX-License-Identifier: MIT
"""Clients that speak to the sockets byte by byte, in this process or in one that
can be killed; and the devices' memory, which outlives them.

A Link sends any bytes and cuts what comes back into frames. A Peer is a Link
over a socket of this process. A Victim is one over the socket of a forked
process that does what it is told through a pipe, one command at a time, so a
test decides after which byte it dies; the protocol stays on the test's side.
"""

import os
import select
import signal
import socket
import struct

from harness import DEADLINE

from kvmcpu import schema
from kvmcpu.framing import FrameReader, frame

PIO, MMIO = schema.hello.SPACE_PIO, schema.hello.SPACE_MMIO
FREEZE, FILL = schema.hello.ABSENCE_FREEZE, schema.hello.ABSENCE_FILL
READ = schema.exit_.DIRECTION_READ
OK, VERSION, INVALID, OVERLAP, LIMIT = (
    getattr(schema.hello, "HELLO_STATUS_" + name)
    for name in ("OK", "VERSION", "INVALID", "OVERLAP", "LIMIT"))
STOPPED, PROTOCOL = schema.exit_.NOTICE_CODE_STOPPED, schema.exit_.NOTICE_CODE_PROTOCOL


def claim(first, last=None, space=PIO, **more):
    return schema.hello.Claim(space=space, first=first, last=first if last is None else last,
                              **more)


def hello(role, name="raw", major=schema.PROTOCOL_MAJOR, claims=(), vcpus=(), **more):
    """A Hello for a role; what is not named is as it should be."""
    message = schema.hello.Hello(major=major, client=name, **more)
    if role == "device":
        message.device.SetInParent()
        message.device.claims.extend(claims)
        message.device.vcpus.extend(vcpus)
    else:
        getattr(message, role).SetInParent()
    return message


class Link:
    """What Peer and Victim share: frames over send() and receive_some()."""

    def __init__(self, limit=schema.STREAM_FRAME_MAX):
        self._frames = FrameReader(limit)

    def send_message(self, message):
        self.send(frame(message.SerializeToString()))

    def receive(self, message):
        """The next frame, parsed into message; None at the end of the stream."""
        while True:
            payload = self._frames.next()
            if payload is not None:
                message.ParseFromString(bytes(payload))
                return message
            data = self.receive_some()
            if not data:
                assert not self._frames.partial, "the daemon closed within a frame"
                return None
            room = self._frames.room()
            room[:len(data)] = data
            self._frames.received(len(data))

    def welcome(self):
        """The HelloReply; None if the connection ends without one."""
        return self.receive(schema.hello.HelloReply())

    def greet(self, role, **options):
        """Hello, and the HelloReply, which must be OK."""
        self.send_message(hello(role, **options))
        reply = self.welcome()
        assert reply is not None and reply.status == OK, reply
        return reply

    def exit(self):
        """The next Exit."""
        return self.receive(schema.exit_.Exit())

    def response(self):
        return self.receive(schema.control.Response())

    def serve(self, ledger, count=1):
        """Answers count exits as the ledger says; returns them."""
        served = []
        for _ in range(count):
            served.append(self.exit())
            self.send_message(ledger.answer(served[-1]))
        return served

    def serve_each(self, ledger, vcpus):
        """Answers until each of vcpus has had its turn; the first exit of each."""
        first = {}
        while set(first) != set(vcpus):
            exit, = self.serve(ledger)
            first.setdefault(exit.vcpu, exit)
        return first


class Peer(Link):
    """A raw connection of this process."""

    def __init__(self, daemon, role, timeout=DEADLINE):
        super().__init__()
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(daemon.path(role))  # waits where the daemon is slow to accept
        self.socket.settimeout(timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive_some(self):
        try:
            return self.socket.recv(min(65536, len(self._frames.room())))
        except ConnectionResetError:  # what it had sent was not read to the end
            return b""

    def readable(self, timeout=DEADLINE):
        return bool(select.select([self.socket], [], [], timeout)[0])

    def close(self):
        self.socket.close()


class Victim(Link):
    """A raw connection of a process of its own, for kill(). It connects at once."""

    def __init__(self, daemon, role="device"):
        super().__init__()
        there, self._commands = os.pipe()
        self._answers, back = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _obey(there, back, daemon.path(role))
        os.close(there)
        os.close(back)
        self._answer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()

    def _answer(self):
        size, = struct.unpack("<I", self._exactly(4))
        return self._exactly(size)

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            assert select.select([self._answers], [], [], DEADLINE)[0], "the victim does nothing"
            part = os.read(self._answers, size - len(data))
            assert part, "the victim ended by itself"
            data += part
        return data

    def _tell(self, verb, data=b""):
        message = verb + struct.pack("<I", len(data)) + data
        while message:
            message = message[os.write(self._commands, message):]
        return self._answer()

    def send(self, data):
        self._tell(b"S", data)

    def receive_some(self):
        return self._tell(b"R", struct.pack("<I", min(65536, len(self._frames.room()))))

    def wait_readable(self):
        """Returns when something is there that it has not read."""
        assert self._tell(b"W"), "nothing reached the victim's socket"

    def kill(self):
        """SIGKILL. When this returns its socket is closed."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            os.close(self._commands)
            os.close(self._answers)
            self.pid = 0


def _obey(commands, answers, path):
    """The victim's life. It holds nothing open but its pipes, so that nobody else's
    connection outlives its owner here."""
    low, high = sorted((commands, answers))
    os.closerange(3, low)
    os.closerange(low + 1, high)
    os.closerange(high + 1, os.sysconf("SC_OPEN_MAX"))
    try:
        _serve_commands(open(commands, "rb", buffering=0), answers, path)
    finally:
        os._exit(1)


def _exactly(file, size):
    data = b""
    while len(data) < size:
        part = file.read(size - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def _serve_commands(commands, answers, path):
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    result = b""
    while True:
        os.write(answers, struct.pack("<I", len(result)) + result)
        verb, size = _exactly(commands, 1), struct.unpack("<I", _exactly(commands, 4))[0]
        body, result = _exactly(commands, size), b""
        if verb == b"S":
            connection.sendall(body)
        elif verb == b"R":
            result = connection.recv(struct.unpack("<I", body)[0])
        elif verb == b"W" and select.select([connection], [], [], DEADLINE)[0]:
            result = b"1"


class Ledger:
    """The devices' memory, which outlives their processes: each (vcpu, seq) is
    carried out once. Reads are handed out 1, 2, 3 ... for each vCPU, writes are
    noted; an exit that was seen before must be marked and gets the same answer.
    """

    def __init__(self):
        self.done = {}  # (vcpu, seq): the value read or written
        self.values = {}  # vcpu: all of them, in order
        self.redelivered = []  # (vcpu, seq) offered again

    def answer(self, exit):
        key = exit.vcpu, exit.seq
        reads = exit.pio.direction == READ
        if exit.redelivered:
            self.redelivered.append(key)
        if key not in self.done:
            values = self.values.setdefault(exit.vcpu, [])
            values.append(len(values) + 1 if reads else int.from_bytes(exit.pio.data, "little"))
            self.done[key] = values[-1]
        else:
            assert exit.redelivered, f"exit {key} comes again without its mark"
        data = self.done[key].to_bytes(exit.pio.size, "little") if reads else b""
        return schema.exit_.ExitReply(seq=exit.seq, data=data, ticks=1)
