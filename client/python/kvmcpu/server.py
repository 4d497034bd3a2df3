# SPDX-License-Identifier: MIT
"""The device side: a channel on which devices answer exits.

One exit is in flight at a time: read it, find the handler by its address, call
it, send the reply. A Server belongs to one thread; to serve vCPUs side by
side, open one Server for each in a thread (or process) of its own.

A handler that raises an exception, or returns what is no answer, does not end
the service: the traceback is logged (logger "kvmcpu"; a device's 1st, 10th,
100th ... failure), the access is answered as a bus error and the device's
`failed` counts it. With raise_errors=True the exception comes out of
serve_one() instead, and the access stays in flight. KeyboardInterrupt and
SystemExit always come out.
"""

import logging

from . import effects as effect_rules
from . import routing, schema
from .access import DECODERS, Reply
from .connection import open_connection
from .device import READ, WRITE
from .errors import Closed, ProtocolError
from .schema import exit_, hello

_log = logging.getLogger("kvmcpu")
_MEMO_MAX = 4096  # picked: more addresses than a device set keeps hot
_BUS_ERROR = Reply(bus_error=True)


def _as_bytes(value, access):
    """A read's data for the wire."""
    size = access.size * access.count
    if isinstance(value, int):
        if access.count != 1:
            raise TypeError(f"an int for {access.count} elements: return bytes of {size}")
        try:
            return value.to_bytes(size, "little")
        except OverflowError:
            raise ValueError(f"{value:#x} does not fit {size} bytes") from None
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError(f"a read was answered with {value!r}: return an int or bytes, "
                        "(either, ticks), or kvmcpu.Reply")
    if len(value) != size and not (access.kind == "hypercall" and len(value) < size):
        raise ValueError(f"{len(value)} bytes returned, the access reads {size}")
    return bytes(value)


def _as_reply(result, access):
    """What a handler returned as a Reply whose data is bytes."""
    reads = not access.is_write and access.kind != "halt"
    if isinstance(result, Reply):
        reply = Reply(result.data, result.ticks, tuple(result.effects), result.bus_error)
    elif not reads:
        reply = Reply(ticks=result or 0)
    elif isinstance(result, tuple):
        reply = Reply(*result[:2])
    else:
        reply = Reply(b"" if result is None and access.kind == "hypercall" else result)
    if not isinstance(reply.ticks, int) or not 0 <= reply.ticks <= schema.MAX_TICKS:
        raise ValueError(f"ticks={reply.ticks!r}: must be an int, 0 to 2^64 - 1")
    silent = reply.bus_error or not reads or (access.kind == "hypercall" and reply.data == b"")
    reply.data = b"" if silent else _as_bytes(reply.data, access)
    return reply


def _per_element(handler, access):
    """A string access through a handler that takes one element at a time."""
    data, ticks, effects = [], 0, []
    for index in range(access.count):
        part = access.element(index)
        reply = _as_reply(handler.call(part), part)
        if reply.bus_error:
            return reply
        data.append(reply.data)
        ticks += reply.ticks
        effects += reply.effects
    return Reply(b"".join(data), ticks, effects)


class Server:
    """Serves devices (an iterable of Device instances) to a VM.

    vm and runtime_dir say where the VM's sockets are; name is this client's in
    status and refusals; vcpus are the indices of the vCPUs to serve, none for
    all. Connecting happens here: raises ConnectError, Refused, Timeout,
    ProtocolError, Closed, and ValueError for devices that contradict each
    other. Usable as a context manager.

    .vm is the VM's VmInfo, .daemon_version a str, .client_id this channel's
    number, .notice the daemon's last words once it said them, .served the
    exits answered.
    """

    def __init__(self, devices, vm="default", runtime_dir=None, name=None, vcpus=(),
                 raise_errors=False):
        self.devices = list(devices)
        self.raise_errors = raise_errors
        self.notice = None
        self.served = 0
        self._routes = routing.build(self.devices)
        self._memo = {}
        self._exit = exit_.Exit()
        self._reply = exit_.ExitReply()
        greeting = hello.Hello(
            device=hello.DeviceHello(claims=routing.claims(self._routes), vcpus=vcpus))
        self._connection, reply = open_connection("device", greeting, vm, runtime_dir, name)
        self.vm = reply.vm
        self.daemon_version = reply.daemon_version
        self.client_id = reply.client_id
        try:
            for device in self.devices:
                device.attached(self.vm)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        """The channel's descriptor: call serve_one() when it is readable, which it also
        is at the end."""
        return self._connection.fileno()

    def close(self):
        """Ends the channel. An access in flight is offered to the next claimant."""
        self._connection.close()

    def serve_forever(self):
        """Answers exits until the VM ends. Returns the daemon's Notice, or None if it
        went without one."""
        while self.serve_one():
            pass
        return self.notice

    def serve_one(self, timeout=None):
        """Waits for one exit (at most timeout seconds, None for ever) and answers it.

        Returns False once the VM has ended. Raises Timeout, and ProtocolError if
        either side broke the protocol.
        """
        exit = self._exit
        try:
            self._connection.receive(exit, timeout)
        except Closed:
            return False
        kind = exit.WhichOneof("kind")
        decode = DECODERS.get(kind)
        if decode is None:
            return self._noticed(kind)
        access = decode(exit)
        try:
            self._connection.send_bytes(self._answer(access))
        except Closed:
            return True  # the daemon's last words, if any, are read by the next call
        self.served += 1
        return True

    def _noticed(self, kind):
        if kind != "notice":
            raise ProtocolError(f"the daemon sent an exit of a kind that nobody claimed: {kind}")
        self.notice = exit_.Notice()
        self.notice.CopyFrom(self._exit.notice)
        if self.notice.code == exit_.NOTICE_CODE_STOPPED:
            return False
        raise ProtocolError(f"the daemon ended the channel: {self.notice.message}")

    def _route(self, kind, address):
        memo = self._memo
        route = memo.get((kind, address))
        if route is None:
            routes = self._routes.get(kind)
            route = routes.find(address) if routes else None
            if route is None:
                raise ProtocolError(f"the daemon sent a {kind} access to {address:#x}, which "
                                    "this client does not claim")
            if len(memo) >= _MEMO_MAX:
                memo.clear()
            memo[kind, address] = route
        return route

    def _answer(self, access):
        """The packed ExitReply to access, from its handler or on its behalf."""
        route = self._route(access.kind, access.address)
        handler = route.handlers[WRITE if access.is_write or access.kind == "halt" else READ]
        if handler is None or access.size not in handler.sizes:
            route.devices[0].refused += 1
            return self._pack(access, _BUS_ERROR)
        access.offset = access.address - handler.first
        try:
            if access.count > 1 and not handler.whole:
                reply = _per_element(handler, access)
            else:
                reply = _as_reply(handler.call(access), access)
            if reply.effects:
                effect_rules.check(reply.effects, self.vm)
            return self._pack(access, reply)
        except Exception:
            self._failed(handler, access)
            return self._pack(access, _BUS_ERROR)

    def _failed(self, handler, access):
        """Called from an except clause: counts and logs a handler's failure, or raises it."""
        device = handler.device
        device.failed += 1
        if self.raise_errors:
            raise
        if str(device.failed).strip("0") == "1":
            _log.exception("%s failed on %r and was answered as a bus error (failure %d of this "
                           "device)", handler.label, access, device.failed)

    def _pack(self, access, reply):
        message = self._reply
        message.Clear()
        message.seq = access.seq
        if reply.bus_error:
            message.status = exit_.REPLY_STATUS_BUS_ERROR
        else:
            message.data = reply.data
        message.ticks = reply.ticks
        if reply.effects:
            message.effects.extend(reply.effects)
        return message.SerializePartialToString()


def serve(devices, vm="default", runtime_dir=None, **options):
    """Serves devices until the VM ends; options as for Server. Returns the Notice or None."""
    with Server(devices, vm, runtime_dir, **options) as server:
        return server.serve_forever()
