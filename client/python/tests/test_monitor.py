# SPDX-License-Identifier: MIT
"""The event stream: order, filters, losses, time-outs, and lines for people."""

import os
import threading

import exits
import kvmcpu
import pytest
from fake_daemon import hello_reply
from kvmcpu.monitor import make_filter
from kvmcpud.v1 import event_pb2 as e
from kvmcpud.v1 import exit_pb2 as x
from kvmcpud.v1 import hello_pb2


def happened(seq, vcpu=0):
    return e.Event(seq=seq, vcpu=vcpu, exit=e.ExitRecord(exit=exits.pio_in(0x80, seq=seq)))


def lost(first_seq, count, vcpu=0):
    return e.Loss(vcpu=vcpu, first_seq=first_seq, count=count)


def watch(daemon, *batches, **options):
    """A Monitor that is sent these batches, then the end."""
    def script(peer):
        for events, losses in batches:
            peer.send(e.EventBatch(events=events, losses=losses))

    daemon("monitor", script)
    return kvmcpu.Monitor(runtime_dir=daemon.runtime_dir, **options)


def test_events_come_in_order_and_end_with_the_vm(daemon):
    batches = ([happened(1), happened(2)], []), ([], []), ([happened(3)], [])
    with watch(daemon, *batches) as monitor:
        assert next(monitor).seq == 1
        assert monitor.pending == 1
        assert [event.seq for event in monitor] == [2, 3]
        assert (dict(monitor.lost), monitor.lost_total) == ({}, 0)


def test_losses_are_counted_exactly_and_stand_where_the_gap_is(daemon):
    batches = [
        ([happened(1), happened(5), happened(1, 1)], [lost(2, 3), lost(2, 10, vcpu=1)]),
        ([happened(9)], [lost(6, 1), lost(7, 2)])]
    with watch(daemon, *batches, losses=True) as monitor:
        got = [(type(item).__name__[0], item.vcpu, getattr(item, "seq", 0) or item.first_seq)
               for item in monitor]
    assert got == [("E", 0, 1), ("L", 0, 2), ("E", 0, 5), ("E", 1, 1), ("L", 1, 2),
                   ("L", 0, 6), ("L", 0, 7), ("E", 0, 9)]
    assert monitor.lost == {0: 6, 1: 10}
    assert monitor.lost_total == 16


def test_losses_are_counted_without_being_handed_out(daemon):
    with watch(daemon, ([], [lost(1, 4)]), ([happened(5)], [])) as monitor:
        assert [event.seq for event in monitor] == [5]
        assert monitor.lost_total == 4


def test_filters(daemon):
    wanted = make_filter([1], ["pio", x.EXIT_KIND_MMIO], [
        ("pio", 0x80), (hello_pb2.SPACE_MMIO, 0, 0xFFF),
        hello_pb2.AddressRange(space=hello_pb2.SPACE_MSR, first=1, last=2)], states=False)
    assert list(wanted.kinds) == [x.EXIT_KIND_PIO, x.EXIT_KIND_MMIO]
    assert [(r.space, r.first, r.last) for r in wanted.ranges] == [
        (hello_pb2.SPACE_PIO, 0x80, 0x80), (hello_pb2.SPACE_MMIO, 0, 0xFFF),
        (hello_pb2.SPACE_MSR, 1, 2)]
    assert wanted.no_states
    with pytest.raises(ValueError, match="'poi' is none of .*pio"):
        make_filter(kinds=["poi"])
    seen = []

    def script(peer):
        seen.append(peer.hello.monitor.filter)
        seen.append(peer.receive(hello_pb2.Filter))

    daemon("monitor", script)
    with kvmcpu.Monitor(runtime_dir=daemon.runtime_dir, kinds=["halt"]) as monitor:
        monitor.set_filter(vcpus=[1])
        assert list(monitor) == []
    assert seen == [make_filter(kinds=["halt"]), make_filter(vcpus=[1])]


def test_timeout_and_on(daemon):
    go = threading.Event()

    def script(peer):
        go.wait(5)
        peer.send(e.EventBatch(events=[happened(1)]))

    daemon("monitor", script)
    with kvmcpu.Monitor(runtime_dir=daemon.runtime_dir, timeout=0) as monitor:
        with pytest.raises(kvmcpu.Timeout):
            next(monitor)
        go.set()
        monitor.timeout = 5
        assert next(monitor).seq == 1


def test_a_batch_of_a_mebibyte(daemon):
    big = e.Event(seq=1, exit=e.ExitRecord(dump=e.Dump(code=bytes(1_000_000))))
    with watch(daemon, ([big], []), ([happened(2)], [])) as monitor:
        assert [event.seq for event in monitor] == [1, 2]


@pytest.mark.parametrize("data", [b"\x02\xff\xff", b"\xff\xff\xff\xff\x0f", b"\x05\x0a"])
def test_garbage(daemon, data):
    daemon("monitor", lambda peer: peer.raw(data))
    with kvmcpu.Monitor(runtime_dir=daemon.runtime_dir) as monitor:
        with pytest.raises(kvmcpu.ProtocolError):
            next(monitor)


def test_memory_is_read_only(daemon):
    reply = hello_reply()
    reply.memory.regions.append(hello_pb2.MemoryRegion(address=0, size_bytes=4096))
    reply.memory.descriptor_follows = True

    def script(peer):
        descriptor = os.memfd_create("guest")
        os.write(descriptor, b"ram!".ljust(4096, b"\0"))
        peer.send_with(reply, descriptor)
        os.close(descriptor)

    daemon("monitor", script, greet=False)
    with kvmcpu.Monitor(runtime_dir=daemon.runtime_dir, want_memory=True) as monitor:
        with monitor.memory as memory:
            assert memory.read(0, 4) == b"ram!"
            with pytest.raises(ValueError, match="read-only"):
                memory.write(0, b"x")


def record(exit, **fields):
    return e.Event(seq=17, exit=e.ExitRecord(
        exit=exit, sent_after_ns=1000, replied_after_ns=42300, **fields))


@pytest.mark.parametrize("event, line", [
    (record(exits.pio_in(0x402, left_ns=3_204_000_000), answered_by=e.ANSWERER_CLIENT, client_id=3,
            reply=x.ExitReply(data=b"\xe9", ticks=250)),
     "vcpu 0 #17 @3.204000 pio read 0x402 size 1 -> e9 ok, 41.3 us by client 3, 250 ticks"),
    (record(exits.pio_out(0x10, bytes(40), size=2), answered_by=e.ANSWERER_UNCLAIMED,
            reply=x.ExitReply(status=x.REPLY_STATUS_BUS_ERROR)),
     "vcpu 0 #17 @0.000000 pio write 0x10 size 2 count 20: " + "00 " * 31 +
     "00 ... (40 bytes) -> bus error, 41.3 us by unclaimed"),
    (record(exits.msr_out(0x10, 1), answered_by=e.ANSWERER_CLIENT, client_id=1,
            reply=x.ExitReply(effects=[kvmcpu.wake(0)])),
     "vcpu 0 #17 @0.000000 msr write 0x10 size 8: 01 00 00 00 00 00 00 00 -> ok, 41.3 us by "
     "client 1, wake"),
    (record(x.Exit(internal_error=x.InternalError(suberror=1, data=[2, 3])),
            answered_by=e.ANSWERER_DAEMON, dump=e.Dump(cause="emulation failed")),
     "vcpu 0 #17 @0.000000 internal error suberror 0x1 data 0x2 0x3 -> ok, 41.3 us by daemon; "
     "fatal: emulation failed"),
    (e.Event(vcpu=1, seq=2, state={"from_state": e.VCPU_STATE_IDLE, "to_state": e.VCPU_STATE_RUNNING,
                                   "at_ns": 1_500_000_000, "paused": True}),
     "vcpu 1 #2 @1.500000 state idle -> running (paused)"),
    (lost(5, 7, vcpu=1), "vcpu 1 lost 7 events from #5"),
    (e.Event(seq=1), "vcpu 0 #1 @0.000000 an event of a kind newer than this client"),
])
def test_lines(event, line):
    assert kvmcpu.format_event(event) == line


def test_every_kind_of_exit_has_a_line():
    oneof = x.Exit.DESCRIPTOR.oneofs_by_name["kind"]
    for field in oneof.fields:
        exit = x.Exit()
        getattr(exit, field.name).SetInParent()
        line = kvmcpu.format_event(e.Event(exit=e.ExitRecord(exit=exit)))
        assert field.name.replace("_", " ") in line and "\n" not in line
