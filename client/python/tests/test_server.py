# SPDX-License-Identifier: MIT
"""Exits of each kind through a Server: what handlers see, what the daemon gets back."""

import logging
import sys
import threading

import exits
import kvmcpu
import pytest
from kvmcpud.v1 import exit_pb2 as x

OK, BUS_ERROR = 0, x.REPLY_STATUS_BUS_ERROR


class Probe(kvmcpu.Device):
    """Registers that answer in each of the allowed ways."""

    def __init__(self):
        self.seen = []

    @kvmcpu.pio_read(0x10, 0x17)
    def read(self, access):
        self.seen.append(access)
        return access.offset + 1

    @kvmcpu.pio_write(0x10, 0x17, sizes=(1, 2))
    def write(self, access):
        self.seen.append(access)
        return 5

    @kvmcpu.pio_read(0x20)
    def timed(self, access):
        return b"\x2a".ljust(access.size, b"\0"), 100

    @kvmcpu.pio_read(0x30, sizes=2, whole=True)
    def block(self, access):
        return bytes(range(access.size * access.count))

    @kvmcpu.pio_read(0x40)
    def refusing(self, access):
        return kvmcpu.Reply(bus_error=True, ticks=3)

    @kvmcpu.pio_read(0x41)
    def broken(self, access):
        raise RuntimeError("a bug in the device")

    @kvmcpu.pio_read(0x42)
    def wrong(self, access):
        return self.answer

    @kvmcpu.pio_write(0x43)
    def effective(self, access):
        return self.answer

    @kvmcpu.mmio_read(0x1_0000_0000, 0x1_0000_0FFF)
    def mmio(self, access):
        return access.offset

    @kvmcpu.mmio_write(0x1_0000_0000, 0x1_0000_0FFF, sizes=8)
    def mmio_store(self, access):
        self.seen.append(access)

    @kvmcpu.hypercall(12)
    def add(self, access):
        return sum(access.args)

    @kvmcpu.hypercall(13)
    def silent(self, access):
        return None

    @kvmcpu.msr_read(0xC0000100)
    def msr(self, access):
        return 2**63

    @kvmcpu.msr_write(0xC0000100)
    def msr_store(self, access):
        self.seen.append(access)

    @kvmcpu.halt()
    def halted(self, access):
        return kvmcpu.Reply(effects=[kvmcpu.wake(access.vcpu)])


def converse(daemon, questions, device=None, **options):
    """Puts each Exit to a Server of device; returns the replies and the Server."""
    device = device or Probe()
    replies = []

    def script(peer):
        for question in questions:
            replies.append(peer.ask(question))
        peer.stopped()

    daemon("device", script)
    with kvmcpu.Server([device], runtime_dir=daemon.runtime_dir, **options) as server:
        assert server.serve_forever().code == x.NOTICE_CODE_STOPPED
        return replies, server


def one(daemon, question, device=None):
    return converse(daemon, [question], device)[0][0]


@pytest.mark.parametrize("size, data", [(1, b"\4"), (2, b"\4\0"), (4, b"\4\0\0\0")])
def test_int_reads_take_the_accesss_size(daemon, size, data):
    reply = one(daemon, exits.pio_in(0x13, size))
    assert (reply.status, reply.data, reply.ticks) == (OK, data, 0)


def test_a_handler_sees_the_whole_access(daemon):
    device = Probe()
    question = exits.pio_out(0x12, b"\x34\x12", size=2, seq=9, vcpu=1, tick=77, redelivered=True)
    reply = one(daemon, question, device)
    assert (reply.data, reply.ticks) == (b"", 5)
    access, = device.seen
    assert (access.kind, access.vcpu, access.seq, access.tick) == ("pio", 1, 9, 77)
    assert (access.address, access.offset, access.size, access.count) == (0x12, 2, 2, 1)
    assert (access.value, access.values, access.redelivered) == (0x1234, (0x1234,), True)
    assert access.is_write


def test_bytes_with_ticks(daemon):
    reply = one(daemon, exits.pio_in(0x20, 2))
    assert (reply.data, reply.ticks) == (b"\x2a\0", 100)


def test_string_io_is_split_for_handlers_of_one_element(daemon):
    device = Probe()
    replies, _ = converse(daemon, [
        exits.pio_in(0x11, 2, count=3, seq=1),
        exits.pio_in(0x20, 1, count=4, seq=2),
        exits.pio_out(0x10, b"abcd", size=2, seq=3)], device)
    assert replies[0].data == b"\2\0" * 3
    assert (replies[1].data, replies[1].ticks) == (b"\x2a" * 4, 400)
    assert replies[2].ticks == 10
    assert [access.data for access in device.seen[-2:]] == [b"ab", b"cd"]


def test_string_io_in_one_piece(daemon):
    assert one(daemon, exits.pio_in(0x30, 2, count=100)).data == bytes(range(200))


def test_mmio_of_each_size(daemon):
    questions = [exits.mmio_in(0x1_0000_0010, size, seq=size) for size in (1, 2, 4, 8)]
    replies, _ = converse(daemon, questions)
    assert [reply.data for reply in replies] == [
        (0x10).to_bytes(size, "little") for size in (1, 2, 4, 8)]


def test_hypercalls_msrs_and_halts(daemon):
    device = Probe()
    replies, _ = converse(daemon, [
        exits.hypercall(12, range(6), seq=1), exits.hypercall(13, seq=2),
        exits.msr_in(0xC0000100, seq=3), exits.msr_out(0xC0000100, 2**64 - 1, seq=4),
        exits.halt(seq=5, vcpu=1)], device)
    assert replies[0].data == (15).to_bytes(8, "little")
    assert replies[1].data == b""
    assert replies[2].data == (2**63).to_bytes(8, "little")
    assert (replies[3].status, replies[3].data) == (OK, b"")
    assert device.seen[0].value == 2**64 - 1
    assert replies[4].effects[0].wake.vcpu == 1


def test_a_reply_does_not_leak_into_the_next(daemon):
    replies, _ = converse(daemon, [
        exits.halt(seq=1), exits.pio_in(0x40, seq=2), exits.pio_in(0x10, seq=3),
        exits.pio_out(0x10, b"x", seq=4)])
    assert (len(replies[0].effects), replies[1].status, replies[1].ticks) == (1, BUS_ERROR, 3)
    assert replies[2] == x.ExitReply(seq=3, data=b"\1")
    assert replies[3] == x.ExitReply(seq=4, ticks=5)


def test_wrong_size_and_wrong_direction_are_bus_errors_and_counted(daemon):
    device = Probe()
    replies, _ = converse(daemon, [
        exits.pio_out(0x10, b"abcd", size=4, seq=1), exits.pio_out(0x20, b"a", seq=2),
        exits.mmio_out(0x1_0000_0000, b"a", seq=3)], device)
    assert [(reply.status, reply.data) for reply in replies] == [(BUS_ERROR, b"")] * 3
    assert (device.refused, device.failed, device.seen) == (3, 0, [])


def test_an_exception_is_a_bus_error_and_service_goes_on(daemon, caplog):
    device = Probe()
    replies, server = converse(
        daemon, [exits.pio_in(0x41, seq=n) for n in range(1, 12)] + [exits.pio_in(0x10, seq=12)],
        device)
    assert [reply.status for reply in replies] == [BUS_ERROR] * 11 + [OK]
    assert (device.failed, server.served) == (11, 12)
    assert [r.levelno for r in caplog.records] == [logging.ERROR] * 2  # the 1st and the 10th
    assert "Probe.broken failed on <Access pio read 0x41" in caplog.records[0].message
    assert "a bug in the device" in caplog.records[0].exc_text


def test_raise_errors_leaves_the_access_open(daemon):
    def script(peer):
        peer.send(exits.pio_in(0x41))
        assert peer.at_end()

    daemon("device", script)
    with kvmcpu.Server([Probe()], runtime_dir=daemon.runtime_dir, raise_errors=True) as server:
        with pytest.raises(RuntimeError, match="a bug"):
            server.serve_one()


@pytest.mark.parametrize("answer", [
    None, "text", 256, -1, b"", b"ab", (1, -1), (1, 2**64), (1, "slow"), 1.5,
    kvmcpu.Reply(data=1, ticks=2**64), kvmcpu.Reply(data=b"ab"), kvmcpu.Reply()])
def test_answers_that_are_none(daemon, answer, caplog):
    device = Probe()
    device.answer = answer
    assert one(daemon, exits.pio_in(0x42), device).status == BUS_ERROR
    assert device.failed == 1


@pytest.mark.parametrize("effects", [
    ["wake"], [x.Effect()], [kvmcpu.wake(2)], [kvmcpu.irq_line(1, True)],
    [kvmcpu.nmi(0)] * 65, [kvmcpu.write_memory(0, bytes(32768))] * 2])
def test_effects_that_the_daemon_would_cut_us_off_for(daemon, effects, caplog):
    device = Probe()
    device.answer = kvmcpu.Reply(effects=effects)
    replies, _ = converse(daemon, [exits.pio_out(0x43, b"a", seq=1), exits.pio_in(0x10, seq=2)],
                          device)
    assert [reply.status for reply in replies] == [BUS_ERROR, OK]
    assert device.failed == 1


def test_effects_travel_in_order(daemon):
    device = Probe()
    device.answer = kvmcpu.Reply(ticks=7, effects=[
        kvmcpu.write_memory(0x1000, b"dma"), kvmcpu.interrupt(1, 0x20), kvmcpu.stop_vm(3, "done")])
    reply = one(daemon, exits.pio_out(0x43, b"a"), device)
    assert reply.ticks == 7
    assert [effect.WhichOneof("kind") for effect in reply.effects] == [
        "write_guest_memory", "interrupt", "stop_vm"]
    assert reply.effects[0].write_guest_memory.data == b"dma"
    assert (reply.effects[2].stop_vm.code, reply.effects[2].stop_vm.reason) == (3, "done")


@pytest.mark.parametrize("make", [
    lambda: kvmcpu.irq_line(24, True), lambda: kvmcpu.interrupt(0, 31),
    lambda: kvmcpu.interrupt(64, 32), lambda: kvmcpu.write_memory(0, b""),
    lambda: kvmcpu.write_memory(0, bytes(32769)), lambda: kvmcpu.stop_vm(64),
    lambda: kvmcpu.stop_vm(0, "\u00e9" * 101), lambda: kvmcpu.wake(-1)])
def test_effects_out_of_range(make):
    with pytest.raises(ValueError):
        make()


def test_every_split_of_an_exit(daemon):
    question = exits.pio_in(0x13, 4)
    data = bytes([question.ByteSize()]) + question.SerializeToString()

    def script(peer):
        for cut in range(1, len(data)):
            peer.raw(data[:cut])
            peer.raw(data[cut:])
            assert peer.receive(x.ExitReply) == x.ExitReply(seq=1, data=b"\4\0\0\0")
        peer.stopped()

    daemon("device", script)
    assert kvmcpu.serve([Probe()], runtime_dir=daemon.runtime_dir)


def test_end_of_stream_ends_service_without_a_notice(daemon):
    daemon("device", lambda peer: peer.ask(exits.pio_in(0x10)))
    assert kvmcpu.serve([Probe()], runtime_dir=daemon.runtime_dir) is None


def test_the_last_words_are_read_even_if_the_daemon_closed_first(daemon):
    """The daemon stops while a device works: exit and notice are there, nobody takes the reply."""
    def script(peer):
        peer.send(exits.pio_in(0x10))
        peer.stopped()

    daemon("device", script)
    notice = kvmcpu.serve([Probe()], runtime_dir=daemon.runtime_dir)
    assert notice.message == "the VM ends"


def misbehave(daemon, script):
    daemon("device", script)
    with pytest.raises(kvmcpu.ProtocolError) as caught:
        kvmcpu.serve([Probe()], runtime_dir=daemon.runtime_dir)
    return str(caught.value)


def test_a_notice_of_our_own_mistake(daemon):
    notice = x.Notice(code=x.NOTICE_CODE_PROTOCOL, message="seq 7 is not in flight")
    assert "seq 7 is not in flight" in misbehave(
        daemon, lambda peer: peer.send(x.Exit(notice=notice)))


@pytest.mark.parametrize("question", [
    x.Exit(seq=1), x.Exit(seq=1, shutdown=x.Shutdown()), exits.pio_in(0x99), exits.mmio_in(0, 1)])
def test_exits_that_nobody_claimed(daemon, question):
    assert "claim" in misbehave(daemon, lambda peer: peer.send(question))


@pytest.mark.parametrize("data", [b"\xff" * 10, b"\x01\xff", b"\x10ab", b"\x81\x80\x04"])
def test_bytes_that_are_no_exits(daemon, data):
    misbehave(daemon, lambda peer: peer.raw(data))


def test_serve_one_times_out_and_goes_on(daemon):
    go = threading.Event()

    def script(peer):
        go.wait(5)
        peer.ask(exits.pio_in(0x10))
        peer.stopped()

    daemon("device", script)
    with kvmcpu.Server([Probe()], runtime_dir=daemon.runtime_dir) as server:
        with pytest.raises(kvmcpu.Timeout):
            server.serve_one(timeout=0)
        go.set()
        assert server.serve_one(timeout=5)
        assert not server.serve_one(timeout=5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_come_out(daemon, error):
    class Quitting(kvmcpu.Device):
        @kvmcpu.pio_read(0x10)
        def read(self, access):
            raise error

    daemon("device", lambda peer: peer.send(exits.pio_in(0x10)))
    with pytest.raises(error):
        kvmcpu.serve([Quitting()], runtime_dir=daemon.runtime_dir)


def test_the_packages_example_runs(daemon, monkeypatch, capfdbinary):
    def script(peer):
        assert peer.ask(exits.pio_in(0x402)).data == b"\xe9"
        peer.ask(exits.pio_out(0x402, b"A"))
        peer.ask(exits.pio_out(0x402, b"BC"))
        peer.stopped()

    daemon("device", script)
    serve = kvmcpu.serve
    monkeypatch.setattr(kvmcpu, "serve", lambda devices, vm: serve(
        devices, vm, daemon.runtime_dir))
    lines = kvmcpu.__doc__.splitlines()
    example = "\n".join(line[4:] for line in lines if line.startswith("    ") or not line)
    exec(example, {})
    sys.stdout.buffer.flush()
    assert capfdbinary.readouterr().out == b"ABC"


def test_a_device_is_told_of_the_vm_before_the_first_access(daemon):
    class Curious(kvmcpu.Device):
        def attached(self, vm):
            self.vcpus = vm.vcpus

        @kvmcpu.pio_read(0x10)
        def read(self, access):
            return self.vcpus

    assert one(daemon, exits.pio_in(0x10), Curious()).data == b"\2"
