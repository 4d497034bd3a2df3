# SPDX-License-Identifier: MIT
"""The control socket: every call, what is refused and why, and that a refusal costs
nothing.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import threading

import kvmcpu
import pytest
from devices import IDLE, PORT, Counter, halted
from google.protobuf import descriptor_pb2
from harness import DEADLINE, KVMCPUD, eventually
from kvmcpu.connection import open_connection
from kvmcpu.framing import frame
from kvmcpu.schema import control as messages
from kvmcpu.schema import event, exit_, hello

WRITE = 0
MIB = 1 << 20
CHUNK = 524288  # the most that one memory call moves


@pytest.fixture
def daemon(start, guest):
    """Two vCPUs that have done their work; 8 MiB of RAM."""
    made = start(*guest("loop", cpus=2, PORT=PORT, KIND=WRITE, N=10), "--memory", "8M")
    halted(made.control())
    return made


def test_status_says_what_was_asked_for(daemon):
    status = daemon.control().status()
    assert (status.vm.name, status.vm.vcpus, status.vm.memory_bytes) == ("t", 2, 8 * MIB)
    assert status.vm.irqchip == hello.IRQCHIP_KIND_NONE
    assert status.vm.ticks_per_second == 10**12
    assert status.pid == daemon.pid
    version = subprocess.run([KVMCPUD, "--version"], capture_output=True, text=True).stdout
    assert status.daemon_version in version
    assert status.state == messages.VM_STATE_RUNNING
    threads = {int(name) for name in os.listdir(f"/proc/{daemon.pid}/task")}
    for index, vcpu in enumerate(status.vcpus):
        assert (vcpu.vcpu, vcpu.state, vcpu.exit_seq, vcpu.tick) == (index, IDLE, 11, 0)
        assert status.started_ns < vcpu.first_entry_ns < status.now_ns
        assert vcpu.thread_id in threads
        comm = pathlib.Path(f"/proc/{daemon.pid}/task/{vcpu.thread_id}/comm").read_text()
        assert comm.strip() == f"vcpu-{index}"


def test_memory_in_pieces_of_every_size(daemon):
    control = daemon.control()
    data = os.urandom(3 * CHUNK + 1)
    address = MIB + 3
    control.write_memory(address, data)
    assert control.read_memory(address, len(data)) == data
    assert control.read_memory(address - 1, 2) == b"\0" + data[:1]
    assert control.read_memory(8 * MIB - 1, 1) == b"\0"
    with control.memory() as memory:
        assert memory.read(address, len(data)) == data
    regions = control.memory_map().regions
    assert [(r.address, r.size_bytes, r.read_only) for r in regions] == [(0, 8 * MIB, False)]


request = messages.Request

OUT_OF_RANGE = {
    "a read behind the end": request(read_memory=messages.ReadMemoryCall(
        address=8 * MIB - 1, size_bytes=2)),
    "a read that wraps around": request(read_memory=messages.ReadMemoryCall(
        address=2**64 - 1, size_bytes=2)),
    "a read of nothing": request(read_memory=messages.ReadMemoryCall(address=0, size_bytes=0)),
    "too large a read": request(read_memory=messages.ReadMemoryCall(
        address=0, size_bytes=CHUNK + 1)),
    "a write behind the end": request(write_memory=messages.WriteMemoryCall(
        address=8 * MIB, data=b"x")),
    "a write of nothing": request(write_memory=messages.WriteMemoryCall(address=0)),
    "a vCPU that is not there, dump": request(dump=messages.DumpCall(vcpu=2)),
    "a vCPU that is not there, pause": request(pause=messages.PauseCall(vcpus=[0, 2])),
    "a vCPU that no VM has, pause": request(pause=messages.PauseCall(vcpus=[64])),
    "a vCPU that is not there, resume": request(resume=messages.ResumeCall(vcpus=[63])),
    "too long a pause": request(pause=messages.PauseCall(timeout_ms=600_001)),
    "too large a code": request(stop=messages.StopCall(code=64)),
    "too long a reason": request(stop=messages.StopCall(reason="x" * 201)),
    "a wake of nobody": request(effect=kvmcpu.wake(2)),
    "an NMI to nobody": request(effect=kvmcpu.nmi(63)),
    "an interrupt to nobody": request(effect=kvmcpu.interrupt(2, 64)),
    "an effect behind the end": request(effect=kvmcpu.write_memory(8 * MIB - 1, b"xy")),
}


@pytest.mark.parametrize("what", OUT_OF_RANGE)
def test_out_of_range_is_refused_and_costs_nothing(daemon, what):
    control = daemon.control()
    before = control.status()
    with pytest.raises(kvmcpu.ControlError) as refused:
        control.call(OUT_OF_RANGE[what])
    assert refused.value.code in (messages.ERROR_CODE_RANGE, messages.ERROR_CODE_INVALID)
    assert len(refused.value.message) > 10
    after = control.status()
    assert [vcpu.paused for vcpu in after.vcpus] == [vcpu.paused for vcpu in before.vcpus]
    assert [vcpu.state for vcpu in after.vcpus] == [IDLE, IDLE]


def test_what_this_vm_cannot_do_is_called_so(daemon):
    control = daemon.control()
    with pytest.raises(kvmcpu.ControlError, match="irqchip|interrupt controller") as refused:
        control.effect(kvmcpu.irq_line(4, True))
    assert refused.value.code == messages.ERROR_CODE_UNSUPPORTED
    with pytest.raises(kvmcpu.ControlError) as refused:
        control.call(messages.Request())
    assert refused.value.code == messages.ERROR_CODE_INVALID


def test_dump_has_everything(daemon):
    dump = daemon.control().dump(1)
    groups = {group.name: group for group in dump.groups}
    assert set(groups) >= {"regs", "sregs", "xcrs", "debugregs", "events", "msrs", "xsave",
                           "mp_state"}
    assert dump.vcpu == 1 and not dump.access_pending
    regs = {entry.name: entry.value for entry in groups["regs"].registers}
    assert (regs["rdi"], regs["rsi"], regs["rcx"], regs["rdx"]) == (1, 2, 10, PORT)
    sregs = {entry.name: entry.value for entry in groups["sregs"].registers}
    assert sregs["cr3"] == 0x2000 and sregs["efer"] & 0x500 == 0x500
    assert dump.code_address == regs["rip"] and dump.code[:2] == b"\xeb\xfd", "behind the HLT"
    xsave = groups["xsave"].registers[0].bytes
    assert len(xsave) >= 576
    for group in dump.groups:
        assert group.registers or group.error


def test_schema_is_what_the_messages_are_made_of(daemon):
    files = descriptor_pb2.FileDescriptorSet.FromString(daemon.control().schema())
    names = [file.name for file in files.file]
    for index, file in enumerate(files.file):
        assert all(names.index(wanted) < index for wanted in file.dependency), "imports first"
    served = {file.name: file for file in files.file}
    for module in (messages, event, exit_, hello):
        own = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(own)
        theirs = served[module.DESCRIPTOR.name]
        assert {m.name: fields(m) for m in theirs.message_type} == {
            m.name: fields(m) for m in own.message_type}
    every = {message.name for file in files.file for message in file.message_type}
    assert every >= {"Hello", "HelloReply", "Exit", "ExitReply", "EventBatch", "Request",
                     "Response"}


def fields(message):
    return {(field.name, field.number, field.type) for field in message.field}


PIPELINE = [  # call, result; some wait for vCPUs, one fails
    (dict(ping=messages.PingCall()), "done"), (dict(pause=messages.PauseCall()), "status"),
    (dict(dump=messages.DumpCall(vcpu=0)), "dump"), (dict(dump=messages.DumpCall(vcpu=9)), None),
    (dict(stats=messages.StatsCall()), "stats"), (dict(resume=messages.ResumeCall()), "status"),
    (dict(clients=messages.ClientsCall()), "clients"),
    (dict(schema=messages.SchemaCall()), "schema"),
] * 25


def test_pipelined_requests_are_answered_in_order(daemon):
    """The sender does not look at answers before it has sent everything."""
    connection, _ = open_connection(
        "control", hello.Hello(control=hello.ControlHello()), **daemon.where)
    stream = b"".join(frame(request(id=1000 + number, **call).SerializeToString())
                      for number, (call, _) in enumerate(PIPELINE))
    with contextlib.closing(connection), socket.socket(fileno=os.dup(connection.fileno())) as raw:
        sender = threading.Thread(target=raw.sendall, args=[stream])
        sender.start()
        for number, (_, result) in enumerate(PIPELINE):
            response = connection.receive(messages.Response(), DEADLINE)
            assert (response.id, response.WhichOneof("result")) == (1000 + number, result)
            assert response.HasField("error") == (result is None)
        sender.join(20)


def test_clients_lists_who_is_there(daemon):
    control = daemon.control(name="the controller")
    serving = daemon.serve(Counter(), name="a device", vcpus=[1])
    monitor = daemon.monitor(name="a monitor")
    listed = {client.name: client for client in control.clients().clients}
    assert listed["the controller"].role == messages.ROLE_CONTROL
    assert listed["a device"].client_id == serving.server.client_id
    assert listed["a monitor"].client_id == monitor.client_id
    for client in listed.values():
        assert (client.pid, client.uid) == (os.getpid(), os.getuid())
    claim = control.clients().claims[0]
    assert (claim.first, claim.last, claim.client) == (PORT, PORT + 63, "a device")
    assert (claim.name, claim.vcpu_mask) == ("counter", 2)
    monitor.close()
    serving.close()
    eventually("both have gone", lambda: {c.name for c in control.clients().clients}.isdisjoint(
        {"a device", "a monitor"}))
