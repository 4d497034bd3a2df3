# SPDX-License-Identifier: MIT
"""One connection to a daemon's socket: finding it, Hello, messages, descriptors.

All three roles share this. A connection is blocking and belongs to one thread
at a time; fileno() lets it stand in the caller's own poll loop.
"""

import array
import collections
import os
import re
import select
import socket
import sys
import time

from google.protobuf.message import DecodeError

from . import schema
from .errors import Closed, ConnectError, ProtocolError, Refused, Timeout
from .framing import FrameReader, frame

HELLO_TIMEOUT_S = 10.0  # picked: a daemon answers Hello within milliseconds
DESCRIPTORS_AT_ONCE = 4  # picked: one is the most that a message announces
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", re.ASCII)


def socket_path(role, vm="default", runtime_dir=None):
    """The path of a VM's socket for a role: "device", "monitor" or "control".

    runtime_dir stands for ${XDG_RUNTIME_DIR:-/run}/kvmcpud. Raises ValueError
    for a name that no VM can have.
    """
    if not _NAME.fullmatch(vm):
        raise ValueError(
            f"{vm!r} is no name of a VM: 1 to 64 letters, digits, '-', '_', '.', no dot first")
    if runtime_dir is None:
        runtime_dir = os.path.join(os.environ.get("XDG_RUNTIME_DIR") or "/run", "kvmcpud")
    return os.path.join(os.fspath(runtime_dir), vm, f"{role}.sock")


def client_name(name=None):
    """name, or the program's own, cut down to what Hello takes: 64 printable ASCII bytes."""
    name = name or os.path.basename(sys.argv[0] or "") or "python"
    return re.sub(r"[^ -~]", "?", name)[: schema.MAX_NAME]


class Connection:
    """A connected socket that sends and receives messages.

    sock is a connected stream socket, owned from here on. limit is the largest
    frame either way, in bytes. With takes_descriptors, descriptors that come
    along wait for take_descriptor(); without it the kernel discards them.
    """

    def __init__(self, sock, limit, takes_descriptors=False):
        self._socket = sock
        self._frames = FrameReader(limit)
        self._receive_into = self._recvmsg if takes_descriptors else sock.recv_into
        self._descriptors = collections.deque()
        self.limit = limit
        self.greeted = False

    def fileno(self):
        """The socket's descriptor: readable when a message, or the end, is there."""
        return self._socket.fileno()

    def close(self):
        """Closes the socket and every descriptor nobody took. May be called again."""
        self._socket.close()
        while self._descriptors:
            os.close(self._descriptors.popleft())

    @property
    def buffered(self):
        """Whether bytes of a message are here already, which poll knows nothing of."""
        return self._frames.partial

    def send(self, message):
        """Sends one message. Raises Closed if the daemon has gone, ValueError if it is too long."""
        self.send_bytes(message.SerializeToString())

    def send_bytes(self, payload):
        """Sends one message that is serialised already."""
        limit = self.limit if self.greeted else schema.HELLO_FRAME_MAX
        if len(payload) > limit:
            raise ValueError(
                f"a message of {len(payload)} bytes: this socket takes {limit} at most")
        try:
            self._socket.sendall(frame(payload))
        except (BrokenPipeError, ConnectionResetError):
            raise Closed("the daemon closed the connection") from None

    def receive(self, message, timeout=None):
        """Receives the next message into message, which is overwritten, and returns it.

        timeout is in seconds, None for ever. Raises Timeout (nothing is lost: what
        came in part is kept), Closed at the end of the stream, ProtocolError for
        bytes that are no such message.
        """
        frames = self._frames
        payload = frames.next()
        if payload is None:
            payload = self._receive_frame(timeout)
        try:
            message.ParseFromString(payload)
        except DecodeError:
            raise ProtocolError(
                f"{len(payload)} bytes from the daemon are no {type(message).__name__}") from None
        return message

    def take_descriptor(self):
        """The oldest descriptor that came along; the caller owns it.

        Raises ProtocolError if none did.
        """
        if not self._descriptors:
            raise ProtocolError("a descriptor was announced and did not come")
        return self._descriptors.popleft()

    def _receive_frame(self, timeout):
        frames = self._frames
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            if deadline is not None:
                self._wait(deadline)
            try:
                size = self._receive_into(frames.room())
            except ConnectionResetError:
                size = 0
            if not size:
                if frames.partial:
                    raise ProtocolError("the daemon closed the connection within a frame")
                raise Closed("the daemon closed the connection")
            frames.received(size)
            payload = frames.next()
            if payload is not None:
                return payload

    def _wait(self, deadline):
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(max(0, deadline - time.monotonic()) * 1000):
            raise Timeout("nothing came from the daemon in time")

    def _recvmsg(self, view):
        room = socket.CMSG_SPACE(DESCRIPTORS_AT_ONCE * array.array("i").itemsize)
        size, ancillary, _, _ = self._socket.recvmsg_into(
            [view], room, socket.MSG_CMSG_CLOEXEC)
        for level, kind, data in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._descriptors.extend(
                    array.array("i", data[: len(data) - len(data) % 4]))
        return size


def _connect(path, vm):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        sock.connect(path)
        return sock
    except PermissionError:
        reason = f"{path} may not be opened by this user; its mode and owner say who may"
    except (FileNotFoundError, ConnectionRefusedError) as error:
        reason = (f"no daemon listens at {path} ({error.strerror}); "
                  f"start one with: kvmcpud --name {vm}")
    except OSError as error:
        reason = f"cannot connect to {path}: {error.strerror or error}"
    sock.close()
    raise ConnectError(reason)


def greet(connection, hello, name=None):
    """Sends hello, completed with version and name, and returns the HelloReply.

    Raises Refused, or ProtocolError where the daemon speaks something else.
    """
    hello.major, hello.minor = schema.PROTOCOL_MAJOR, schema.PROTOCOL_MINOR
    hello.client = client_name(name)
    try:
        connection.send(hello)
    except Closed:
        pass  # what the daemon said before it closed is still there to be read
    reply = connection.receive(schema.hello.HelloReply(), HELLO_TIMEOUT_S)
    if reply.status != schema.hello.HELLO_STATUS_OK:
        status = schema.enum_name(schema.hello.HelloStatus, "HELLO_STATUS_", reply.status)
        raise Refused(reply, status)
    connection.greeted = True
    return reply


def open_connection(role, hello, vm="default", runtime_dir=None, name=None):
    """Connects to a VM's socket for role and says hello (a Hello with its role set).

    Returns (Connection, HelloReply). Raises ConnectError, Refused, Closed,
    Timeout or ProtocolError; nothing stays open then.
    """
    limit = schema.DEVICE_FRAME_MAX if role == "device" else schema.STREAM_FRAME_MAX
    sock = _connect(socket_path(role, vm, runtime_dir), vm)
    connection = Connection(sock, limit, hello.takes_descriptors)
    try:
        return connection, greet(connection, hello, name)
    except BaseException:
        connection.close()
        raise
