# SPDX-License-Identifier: MIT
"""A daemon's side of one connection, played from a script.

It shares no framing code with the package under test. The script is a function
that is given a Peer once Hello has been answered; what it raises fails the test.
"""

import array
import socket
import threading

from kvmcpud.v1 import exit_pb2, hello_pb2

DEADLINE_S = 10  # a hang becomes a failure


def varint(value):
    out = b""
    while value > 127:
        out += bytes([value % 128 + 128])
        value //= 128
    return out + bytes([value])


def framed(message):
    payload = message.SerializeToString()
    return varint(len(payload)) + payload


class Peer:
    """The connection as the script sees it."""

    def __init__(self, sock):
        self.sock = sock
        self.hello = None

    def send(self, message):
        self.raw(framed(message))

    def raw(self, data):
        self.sock.sendall(data)

    def send_with(self, message, descriptor):
        """A message with a descriptor beside its first byte."""
        data = framed(message)
        rights = array.array("i", [descriptor])
        sent = self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        if sent < len(data):
            self.raw(data[sent:])

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError(f"the client closed after {len(data)} of {size} bytes")
            data += more
        return data

    def receive(self, message_class):
        size = shift = 0
        while True:
            byte = self.exactly(1)[0]
            size += (byte % 128) << shift
            shift += 7
            if byte < 128:
                return message_class.FromString(self.exactly(size))

    def ask(self, exit):
        """Sends an Exit and returns the ExitReply, having checked its seq."""
        self.send(exit)
        reply = self.receive(exit_pb2.ExitReply)
        assert reply.seq == exit.seq
        return reply

    def at_end(self):
        """Whether the client has closed; waits for it or for bytes."""
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True

    def stopped(self):
        """The Notice that the VM has ended."""
        self.send(exit_pb2.Exit(notice=exit_pb2.Notice(
            code=exit_pb2.NOTICE_CODE_STOPPED, message="the VM ends")))

    def reset(self):
        """The Notice that the VM starts again."""
        self.send(exit_pb2.Exit(notice=exit_pb2.Notice(
            code=exit_pb2.NOTICE_CODE_RESET, message="the VM starts again")))


def hello_reply(**fields):
    reply = hello_pb2.HelloReply(
        status=hello_pb2.HELLO_STATUS_OK, major=1, minor=0, daemon_version="0.0-fake", client_id=3)
    reply.vm.name = "default"
    reply.vm.vcpus = 2
    reply.vm.memory_bytes = 128 << 20
    reply.vm.ticks_per_second = 10**12
    reply.vm.irqchip = hello_pb2.IRQCHIP_KIND_NONE
    reply.MergeFrom(hello_pb2.HelloReply(**fields))
    return reply


class FakeDaemon:
    """Listens on RUNTIME_DIR/default/ROLE.sock, serves one connection in a thread; or
    as many as there are scripts, one after the other."""

    def __init__(self, runtime_dir, role, script, reply=None, greet=True):
        directory = runtime_dir / "default"
        directory.mkdir(exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.settimeout(DEADLINE_S)
        self.listener.bind(str(directory / f"{role}.sock"))
        self.listener.listen()
        self.scripts = script if isinstance(script, (list, tuple)) else [script]
        self.reply, self.greet = reply or hello_reply(), greet
        self.failure = None
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        try:
            for script in self.scripts:
                self._serve(script)
        except BaseException as error:
            self.failure = error
        finally:
            self.listener.close()

    def _serve(self, script):
        sock, _ = self.listener.accept()
        sock.settimeout(DEADLINE_S)
        with sock:
            peer = Peer(sock)
            peer.hello = peer.receive(hello_pb2.Hello)
            if self.greet:
                peer.send(self.reply)
            script(peer)

    def finish(self):
        self.thread.join(DEADLINE_S)
        assert not self.thread.is_alive(), "the fake daemon hangs"
        if self.failure:
            raise self.failure
