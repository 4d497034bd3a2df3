# SPDX-License-Identifier: MIT
"""The controller's side: one method per request, each returning the message that
answers it.

A request that fails raises ControlError and leaves everything as it was. A
Control belongs to one thread at a time.
"""

import math
import os
import time

from . import schema
from .connection import open_connection
from .errors import ControlError, ProtocolError, Timeout
from .memory import GuestMemory
from .schema import control, hello

_POLL_FIRST_S, _POLL_LAST_S = 0.001, 0.02  # picked: quick at first, then easy on the daemon


class Control:
    """A control connection to a VM.

    timeout is how long to wait for each answer, in seconds; None for ever.
    After Timeout the connection may be used on. Connecting raises ConnectError,
    Refused, Timeout, Closed, ProtocolError; every call may raise ControlError,
    Timeout, Closed and ProtocolError. Usable as a context manager.
    """

    def __init__(self, vm="default", runtime_dir=None, name=None, timeout=None):
        greeting = hello.Hello(control=hello.ControlHello(), takes_descriptors=True)
        self._connection, reply = open_connection("control", greeting, vm, runtime_dir, name)
        self.timeout = timeout
        self.vm = reply.vm
        self.daemon_version = reply.daemon_version
        self.client_id = reply.client_id
        self._id = 0
        self._response = control.Response()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def fileno(self):
        """The connection's descriptor."""
        return self._connection.fileno()

    def close(self):
        """Ends the connection; the VM goes on."""
        self._connection.close()

    def call(self, request, extra_s=0):
        """Sends request (a Request; its id is set here) and returns its Response.

        extra_s is added to the time-out, for calls that wait by themselves.
        """
        self._id += 1
        request.id = self._id
        self._connection.send(request)
        deadline = None if self.timeout is None else time.monotonic() + self.timeout + extra_s
        while True:
            left = None if deadline in (None, math.inf) else max(0, deadline - time.monotonic())
            response = self._connection.receive(self._response, left)
            if response.id == self._id:
                break
            self._discard(response)
        if response.HasField("error"):
            error = response.error
            code = schema.enum_name(control.ErrorCode, "ERROR_CODE_", error.code)
            raise ControlError(error.code, error.message, code)
        return response

    def _discard(self, response):
        """Drops an answer that came after its call had timed out."""
        if response.id > self._id or not response.id:
            raise ProtocolError(f"the daemon answered request {response.id}, which was never made: "
                                f"{response.error.message}")
        if response.memory_map.descriptor_follows:
            os.close(self._connection.take_descriptor())

    def _result(self, field, request, extra_s=0):
        response = self.call(request, extra_s)
        if response.WhichOneof("result") != field:
            raise ProtocolError(f"the daemon answered with {response.WhichOneof('result')}, "
                                f"not {field}")
        result = type(getattr(response, field))()
        result.CopyFrom(getattr(response, field))
        return result

    def ping(self):
        """Returns the round trip's duration in seconds."""
        start = time.monotonic()
        self._result("done", control.Request(ping=control.PingCall()))
        return time.monotonic() - start

    def status(self):
        """The VM's Status: its state, and of each vCPU the state, clock and what it waits for."""
        return self._result("status", control.Request(status=control.StatusCall()))

    def pause(self, vcpus=(), timeout_ms=0):
        """Pauses vcpus (none means all) and returns Status.

        Waits until none has an access in flight, at most timeout_ms (0 means
        1000); where Status then shows a wait, that access is still open.
        """
        request = control.Request(pause=control.PauseCall(vcpus=vcpus, timeout_ms=timeout_ms))
        return self._result("status", request, (timeout_ms or 1000) / 1000)

    def resume(self, vcpus=()):
        """Lets vcpus (none means all) run again and returns Status."""
        return self._result(
            "status", control.Request(resume=control.ResumeCall(vcpus=vcpus)))

    def run(self, ticks, vcpus=(), advance_to=0, stop_at_exit=False, instructions=0):
        """Lets paused vcpus (none means all) run until their clocks have advanced by ticks,
        or something else ends their runs. Returns a list of VcpuRun, one for each vCPU:
        end says why (run_end() its name), tick is the clock, executed_ticks, charged_ticks
        and idle_ticks what it gained.

        A clock that stands before the tick advance_to is first set to it. With stop_at_exit
        a run also ends behind the first exit that somebody was to answer; instructions above
        0 has it end behind exactly so many, one by one. Waits for as long as the runs take,
        self.timeout notwithstanding. ControlError "state": a vCPU is not paused, or is in a
        run; "range": the clock would pass its end; "unsupported": instructions cannot be
        counted here.
        """
        call = control.RunCall(vcpus=vcpus, ticks=ticks, advance_to_tick=advance_to,
                               stop_at_exit=stop_at_exit, instructions=instructions)
        return list(self._result("runs", control.Request(run=call), math.inf).runs)

    def begin_run(self, ticks, vcpus=(), advance_to=0, stop_at_exit=False, instructions=0):
        """As run(), but returns at once: wait_run() has the result."""
        call = control.RunCall(vcpus=vcpus, ticks=ticks, advance_to_tick=advance_to,
                               stop_at_exit=stop_at_exit, instructions=instructions)
        setattr(call, "async", True)  # a word of Python's
        self._result("done", control.Request(run=call))

    def wait_run(self, vcpus=()):
        """Waits until no run of vcpus is going; the last run of each, as run() returns it."""
        call = control.WaitRunCall(vcpus=vcpus)
        return list(self._result("runs", control.Request(wait_run=call), math.inf).runs)

    def cancel_run(self, vcpus=()):
        """Ends the runs of vcpus, whoever began them."""
        self._result("done", control.Request(cancel_run=control.CancelRunCall(vcpus=vcpus)))

    def stop(self, code=0, reason=""):
        """Ends the VM and the daemon, whose exit status is code (0 to 63)."""
        self._result("done", control.Request(stop=control.StopCall(code=code, reason=reason)))

    def stats(self):
        """All counters and histograms, a Stats."""
        return self._result("stats", control.Request(stats=control.StatsCall()))

    def dump(self, vcpu=0):
        """Everything KVM tells about one vCPU, a Dump. It leaves the guest for it."""
        return self._result("dump", control.Request(dump=control.DumpCall(vcpu=vcpu)))

    def clients(self):
        """Who is connected and which claims there are, a ClientList."""
        return self._result("clients", control.Request(clients=control.ClientsCall()))

    def read_memory(self, address, size):
        """size bytes of guest memory as bytes; the guest runs on meanwhile.

        More than 512 KiB travel as several requests. The range must lie in one
        region of memory_map().
        """
        if size < 0:
            raise ValueError(f"{size} is no size")
        parts = []
        for start in range(address, address + size, schema.MAX_MEMORY_CALL):
            length = min(schema.MAX_MEMORY_CALL, address + size - start)
            call = control.ReadMemoryCall(address=start, size_bytes=length)
            data = self._result("memory", control.Request(read_memory=call)).data
            if len(data) != length:
                raise ProtocolError(f"{length} bytes were asked for, {len(data)} came")
            parts.append(data)
        return b"".join(parts)

    def write_memory(self, address, data):
        """Writes data (bytes) to guest memory, in requests of 512 KiB: if one
        fails, those before it are done."""
        for start in range(0, len(data), schema.MAX_MEMORY_CALL):
            part = bytes(data[start:start + schema.MAX_MEMORY_CALL])
            call = control.WriteMemoryCall(address=address + start, data=part)
            self._result("done", control.Request(write_memory=call))

    def memory_map(self):
        """Where guest memory lies, a MemoryMap. Its descriptor goes to memory() alone."""
        memory_map = self._result(
            "memory_map", control.Request(memory_map=control.MemoryMapCall()))
        if memory_map.descriptor_follows:
            os.close(self._connection.take_descriptor())
        return memory_map

    def memory(self):
        """Guest memory mapped for reading and writing, a GuestMemory; the caller closes it.

        Raises ProtocolError if the daemon gives no descriptor: use read_memory then.
        """
        memory_map = self._result(
            "memory_map", control.Request(memory_map=control.MemoryMapCall()))
        return GuestMemory(memory_map, self._connection.take_descriptor(), writable=True)

    def schema(self):
        """The daemon's own schema: a serialised google.protobuf.FileDescriptorSet."""
        return self._result(
            "schema", control.Request(schema=control.SchemaCall())).file_descriptor_set

    def effect(self, effect):
        """Does to the VM what an effect says: kvmcpu.irq_line(), wake(), nmi() and their kin."""
        self._result("done", control.Request(effect=effect))

    def wait_until(self, predicate, timeout=10.0):
        """Asks for Status until predicate(status) is true, and returns that Status.

        The daemon has no call to wait by, so this asks again after 1 ms, then
        ever less often down to every 20 ms. Raises Timeout after timeout seconds.
        """
        deadline, pause = time.monotonic() + timeout, _POLL_FIRST_S
        while True:
            status = self.status()
            if predicate(status):
                return status
            if time.monotonic() >= deadline:
                raise Timeout(f"the VM did not get there in {timeout} s; its last status:\n"
                              f"{status}")
            time.sleep(pause)
            pause = min(2 * pause, _POLL_LAST_S)
