# SPDX-License-Identifier: MIT
"""Requests and what comes back: results, errors, late answers, descriptors."""

import os
import threading

import kvmcpu
import pytest
from kvmcpud.v1 import control_pb2 as c
from kvmcpud.v1 import hello_pb2

REGION = hello_pb2.MemoryRegion(address=0x1000, size_bytes=0x2000, offset=0x1000)
ROM = hello_pb2.MemoryRegion(address=0xF000, size_bytes=0x1000, offset=0, read_only=True)


def control(daemon, *answers, **options):
    """A Control whose requests are answered in turn: by a Response without id, or by a
    function of (peer, request). The requests are kept in .requests."""
    requests = []

    def script(peer):
        for answer in answers:
            request = peer.receive(c.Request)
            requests.append(request)
            if callable(answer):
                answer(peer, request)
            else:
                answer.id = request.id
                peer.send(answer)
        assert peer.at_end()

    daemon("control", script)
    made = kvmcpu.Control(runtime_dir=daemon.runtime_dir, **options)
    made.requests = requests
    return made


def done():
    return c.Response(done=c.Done())


def with_memory(peer, request):
    """Answers MemoryMapCall with a file of three pages."""
    descriptor = os.memfd_create("guest")
    os.write(descriptor, b"rom!".ljust(0x1000, b"\0") + b"ram!".ljust(0x2000, b"\0"))
    answer = c.Response(id=request.id)
    answer.memory_map.regions.extend([REGION, ROM])
    answer.memory_map.descriptor_follows = True
    peer.send_with(answer, descriptor)
    os.close(descriptor)


def test_each_call_makes_its_request(daemon):
    status = c.Response(status=c.Status(pid=7))
    answers = [done(), status, status, status, c.Response(stats=c.Stats(now_ns=1)),
               c.Response(dump={"vcpu": 1}), c.Response(clients=c.ClientList()),
               c.Response(schema=c.Schema(file_descriptor_set=b"fds")), done(), done()]
    with control(daemon, *answers) as vm:
        assert 0 <= vm.ping() < 10
        assert vm.status().pid == 7
        vm.pause([1], timeout_ms=50)
        vm.resume()
        assert vm.stats().now_ns == 1
        assert vm.dump(1).vcpu == 1
        assert vm.clients() == c.ClientList()
        assert vm.schema() == b"fds"
        vm.effect(kvmcpu.wake(1))
        vm.stop(3, "enough")
        assert vm.vm.vcpus == 2
    kinds = [request.WhichOneof("call") for request in vm.requests]
    assert kinds == ["ping", "status", "pause", "resume", "stats", "dump", "clients", "schema",
                     "effect", "stop"]
    assert [request.id for request in vm.requests] == list(range(1, 11))
    assert (list(vm.requests[2].pause.vcpus), vm.requests[2].pause.timeout_ms) == ([1], 50)
    assert vm.requests[8].effect.wake.vcpu == 1
    assert (vm.requests[9].stop.code, vm.requests[9].stop.reason) == (3, "enough")


def test_results_outlive_the_next_call(daemon):
    one, two = (c.Response(status=c.Status(pid=pid)) for pid in (1, 2))
    with control(daemon, one, two) as vm:
        first = vm.status()
        vm.status()
        assert first.pid == 1


def test_a_failed_request_is_an_error_and_the_next_goes_on(daemon):
    failed = c.Response(error=c.Error(code=c.ERROR_CODE_RANGE, message="no vCPU 9"))
    with control(daemon, failed, done()) as vm:
        with pytest.raises(kvmcpu.ControlError, match=r"no vCPU 9 \(range\)") as caught:
            vm.dump(9)
        assert (caught.value.code, caught.value.message) == (c.ERROR_CODE_RANGE, "no vCPU 9")
        vm.ping()


def test_an_answer_of_another_kind(daemon):
    with control(daemon, done()) as vm, pytest.raises(kvmcpu.ProtocolError, match="not status"):
        vm.status()


def test_an_answer_to_nothing(daemon):
    def stray(peer, request):
        peer.send(c.Response(id=99, done=c.Done()))

    with control(daemon, stray) as vm, pytest.raises(kvmcpu.ProtocolError, match="request 99"):
        vm.ping()


def test_a_late_answer_is_dropped_with_its_descriptor(daemon):
    late = []

    def both(peer, request):
        with_memory(peer, late[0])
        peer.send(c.Response(id=request.id, done=c.Done()))

    with control(daemon, lambda peer, request: late.append(request), both, timeout=0.01) as vm:
        with pytest.raises(kvmcpu.Timeout):
            vm.memory_map()
        before = len(os.listdir("/proc/self/fd"))
        vm.timeout = 5
        vm.ping()
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_daemon_that_ends_between_calls(daemon):
    daemon("control", lambda peer: None)
    with kvmcpu.Control(runtime_dir=daemon.runtime_dir) as vm, pytest.raises(kvmcpu.Closed):
        vm.ping()


def test_memory_travels_in_chunks(daemon):
    content = os.urandom(524288 + 10)

    def part(peer, request):
        call = request.read_memory
        start = call.address - 0x1000
        peer.send(c.Response(id=request.id, memory=c.MemoryContents(
            address=call.address, data=content[start:start + call.size_bytes])))

    with control(daemon, part, part, done(), done()) as vm:
        assert vm.read_memory(0x1000, len(content)) == content
        assert vm.read_memory(0x1000, 0) == b""
        with pytest.raises(ValueError):
            vm.read_memory(0x1000, -1)
        vm.write_memory(0x2000, content)
    sizes = [request.read_memory.size_bytes for request in vm.requests[:2]]
    assert sizes == [524288, 10]
    writes = [request.write_memory for request in vm.requests[2:]]
    assert [write.address for write in writes] == [0x2000, 0x2000 + 524288]
    assert b"".join(write.data for write in writes) == content


def test_too_little_memory_came(daemon):
    short = c.Response(memory=c.MemoryContents(data=b"ab"))
    with control(daemon, short) as vm, pytest.raises(kvmcpu.ProtocolError, match="2 came"):
        vm.read_memory(0, 3)


def test_mapped_memory(daemon):
    with control(daemon, with_memory) as vm, vm.memory() as memory:
        assert memory.read(0x1000, 4) == b"ram!"
        assert memory.read(0xF000, 4) == b"rom!"
        memory.write(0x2FFF, b"x")
        with memory.view(0x2FFE, 2) as view:
            assert bytes(view) == b"\0x"
        for address, size in [(0xFFF, 1), (0x2FFF, 2), (0xFFFF, 2), (0, 1), (2**64, 1)]:
            with pytest.raises(ValueError, match="do not lie in one region"):
                memory.read(address, size)
        with pytest.raises(ValueError, match="read-only"):
            memory.write(0xF000, b"x")
        with pytest.raises(ValueError):
            memory.read(0x1000, -1)


def test_the_map_alone_leaks_no_descriptor(daemon):
    with control(daemon, with_memory, done()) as vm:
        before = len(os.listdir("/proc/self/fd"))
        assert list(vm.memory_map().regions) == [REGION, ROM]
        vm.ping()  # the daemon's thread has closed its own descriptor by now
        assert len(os.listdir("/proc/self/fd")) == before


def test_a_descriptor_announced_that_does_not_come(daemon):
    answer = c.Response()
    answer.memory_map.regions.append(REGION)
    answer.memory_map.descriptor_follows = True
    with control(daemon, answer) as vm, pytest.raises(kvmcpu.ProtocolError, match="did not come"):
        vm.memory()


def test_wait_until(daemon):
    answers = [c.Response(status=c.Status(pid=pid)) for pid in (1, 2, 3, 4)]
    with control(daemon, *answers) as vm:
        assert vm.wait_until(lambda status: status.pid == 3).pid == 3
        with pytest.raises(kvmcpu.Timeout, match="pid: 4"):
            vm.wait_until(lambda status: False, timeout=0)


def test_a_descriptor_nobody_asked_for_is_closed_with_the_connection(daemon):
    def generous(peer, request):
        descriptor = os.memfd_create("unasked")
        peer.send_with(c.Response(id=request.id, done=c.Done()), descriptor)
        os.close(descriptor)
        closed.set()

    closed = threading.Event()

    def handed_over():
        links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
        return [link for link in links
                if os.path.islink(link) and "memfd:unasked" in os.readlink(link)]

    with control(daemon, generous) as vm:
        vm.ping()
        assert closed.wait(5)
        assert handed_over()
    assert not handed_over()
