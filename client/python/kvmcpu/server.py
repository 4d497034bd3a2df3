# SPDX-License-Identifier: MIT
"""The device side: a channel on which devices answer exits.

One exit is in flight at a time: read it, find the handler by its address, call
it, send the reply. A Server belongs to one thread; to serve vCPUs side by
side, open one Server for each in a thread (or process) of its own.

A handler that raises an exception, or returns what is no answer, does not end
the service: the traceback is logged (logger "kvmcpu"; a device's 1st, 10th,
100th ... failure), the access is answered as a bus error and the device's
`failed` counts it. With raise_errors=True the exception comes out of
serve_one() instead, and the access stays in flight; raise_errors=OSError, say,
does that for one kind of exception. KeyboardInterrupt and SystemExit always
come out.

Devices that act on their own (Device.sources(), Device.deadline()) are called
while the Server waits for an exit. What they do to the VM goes over a control
connection, which is opened when it is first needed, so this client must be
allowed to open control.sock as well. What their handlers raise comes out: there
is no access to answer.
"""

import logging
import select

from . import effects as effect_rules
from . import routing, schema, wait
from .access import DECODERS, Reply
from .connection import open_connection
from .control import Control
from .device import READ, WRITE
from .errors import Closed, ConnectError, ControlError, ProtocolError
from .schema import exit_, hello
from .state import Keeper

_log = logging.getLogger("kvmcpu")
_MEMO_MAX = 4096  # picked: more addresses than a device set keeps hot
_BUS_ERROR = Reply(bus_error=True)
_LAST_WORDS_MS = 1000  # picked: a daemon that ends closes all of its sockets within milliseconds


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
    all. state is a StateFile, in which the devices are kept and from which they
    are restored if it is this VM's; the caller closes it. Connecting happens
    here: raises ConnectError, Refused, Timeout, ProtocolError, Closed,
    StateError, and ValueError for devices that contradict each other. Usable as
    a context manager.

    .vm is the VM's VmInfo, .daemon_version a str, .client_id this channel's
    number, .notice the daemon's last words once it said them, .served the
    exits answered, .resumed whether the devices came out of state.
    """

    def __init__(self, devices, vm="default", runtime_dir=None, name=None, vcpus=(),
                 raise_errors=False, state=None):
        self.devices = list(devices)
        self.raise_errors = Exception if raise_errors is True else raise_errors or ()
        self.notice = None
        self.served = 0
        self.resumed = False
        self._where = {"vm": vm, "runtime_dir": runtime_dir, "name": name}
        self._control = self._keeper = self._waiter = None
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
            self._attach(state)
        except BaseException:
            self.close()
            raise

    def _attach(self, state):
        for device in self.devices:
            device.attached(self.vm)
        if state is not None:
            self._keeper = Keeper(state, self.devices, self.vm.instance)
            self.resumed = self._keeper.resumed
            self._act(self._keeper.restore())
        acting = [device for device in self.devices if wait.acts(device)]
        if acting:
            self._waiter = wait.Waiter(self._connection.fileno(), acting, self._done_by)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        """The channel's descriptor: call serve_one() when it is readable, which it also
        is at the end. Devices that act on their own are only served while
        serve_one() or serve_forever() waits."""
        return self._connection.fileno()

    def close(self):
        """Ends the channel. An access in flight is offered to the next claimant."""
        self._connection.close()
        if self._control:
            self._control.close()

    def serve_forever(self):
        """Answers exits until the VM ends or is reset. Returns the daemon's Notice, or
        None if it went without one. After NOTICE_CODE_RESET a new Server with new
        devices goes on."""
        while self.serve_one():
            pass
        return self.notice

    def serve_one(self, timeout=None):
        """Waits for one exit (at most timeout seconds, None for ever) and answers it.

        Returns False once the VM has ended or is reset. Raises Timeout, and
        ProtocolError if either side broke the protocol.
        """
        exit = self._exit
        try:
            if self._waiter and not self._connection.buffered:
                self._waiter.wait(timeout)
            self._connection.receive(exit, timeout)
        except Closed:
            return False
        kind = exit.WhichOneof("kind")
        decode = DECODERS.get(kind)
        if decode is None:
            return self._noticed(kind)
        access = decode(exit)
        try:
            answer = self._answer if self._keeper is None else self._kept_answer
            self._connection.send_bytes(answer(access))
        except Closed:
            return True  # the daemon's last words, if any, are read by the next call
        self.served += 1
        return True

    def _noticed(self, kind):
        if kind != "notice":
            raise ProtocolError(f"the daemon sent an exit of a kind that nobody claimed: {kind}")
        self.notice = exit_.Notice()
        self.notice.CopyFrom(self._exit.notice)
        if self.notice.code in (exit_.NOTICE_CODE_STOPPED, exit_.NOTICE_CODE_RESET):
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
        except Exception as error:
            self._failed(handler, access, error)
            return self._pack(access, _BUS_ERROR)

    def _failed(self, handler, access, error):
        """Called from an except clause: counts and logs a handler's failure, or raises it."""
        device = handler.device
        device.failed += 1
        if isinstance(error, self.raise_errors):
            raise
        if str(device.failed).strip("0") == "1":
            _log.exception("%s failed on %r and was answered as a bus error (failure %d of this "
                           "device)", handler.label, access, device.failed)

    def _kept_answer(self, access):
        """As _answer(), with the state stored before anybody can see the answer.

        An answer that stops the VM is not stored: who gets that access after us is
        to stop it as well.
        """
        given = self._keeper.given(access)
        if given:
            bus_error, data = given
            return self._pack(access, Reply(data, bus_error=bus_error))
        payload = self._answer(access)
        message = self._reply
        if not any(effect.HasField("stop_vm") for effect in message.effects):
            devices = self._route(access.kind, access.address).devices
            bus_error = message.status == exit_.REPLY_STATUS_BUS_ERROR
            self._keeper.answered(access, devices, bus_error, message.data)
        return payload

    def _done_by(self, device, effects):
        """What a device did on its own account: keeps it, then carries out effects."""
        if self._keeper:
            self._keeper.changed((device,))
        if effects:
            self._act(list(effects))

    def _act(self, effects):
        """Carries out effects over the control connection."""
        if not effects:
            return
        effect_rules.check(effects, self.vm)
        try:
            if self._control is None:
                self._control = Control(timeout=None, **self._where)
            for effect in effects:
                self._control.effect(effect)
        except (Closed, ConnectError, ControlError):
            if not self._ending():
                raise

    def _ending(self):
        """Whether the channel ends too, so that its last words say all there is to say."""
        poll = select.poll()
        poll.register(self._connection, select.POLLRDHUP)
        return bool(poll.poll(_LAST_WORDS_MS))

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


def serve(devices, vm="default", runtime_dir=None, ready=None, **options):
    """Serves devices until the VM ends; options as for Server. Returns the Notice or None.

    devices may be a function that makes them: then a reset of the VM is not the
    end, and new ones are served, as if they had just been switched on. ready, if
    given, is called with each Server before its first access.
    """
    renewable = callable(devices)
    while True:
        with Server(devices() if renewable else devices, vm, runtime_dir, **options) as server:
            if ready:
                ready(server)
            notice = server.serve_forever()
        if not renewable or notice is None or notice.code != exit_.NOTICE_CODE_RESET:
            return notice
