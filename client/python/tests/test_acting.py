# SPDX-License-Identifier: MIT
"""Devices that act on their own: what the server waits for, and what becomes of effects."""

import os
import select
import socket
import threading
import time

import exits
import kvmcpu
import pytest
from fake_daemon import hello_reply
from kvmcpud.v1 import control_pb2 as c
from kvmcpud.v1 import exit_pb2 as x
from kvmcpud.v1 import hello_pb2

KERNEL = hello_reply(vm=hello_pb2.VmInfo(irqchip=hello_pb2.IRQCHIP_KIND_KERNEL, instance=7))


class Wired(kvmcpu.Device):
    """Raises line 5 for each byte that comes by a pipe, and lowers it when it is read."""

    def __init__(self):
        self.out, self.into = os.pipe()
        self.got = []

    def close(self):
        os.close(self.out)
        os.close(self.into)

    def sources(self):
        return [(self.out, select.POLLIN, self.arrived)]

    def arrived(self, source, events):
        assert (source, events) == (self.out, select.POLLIN)
        self.got.append(os.read(source, 1))
        return [kvmcpu.irq_line(5, True)]

    @kvmcpu.pio_read(0x10)
    def read(self, access):
        return kvmcpu.Reply(len(self.got), effects=[kvmcpu.irq_line(5, False)])


@pytest.fixture
def wired():
    device = Wired()
    yield device
    device.close()


class Controller:
    """The daemon's control socket: answers effects, and keeps them."""

    def __init__(self, daemon, number, answer=None):
        self.effects, self.all_there = [], threading.Event()
        self._number, self._answer = number, answer
        daemon("control", self._run, reply=KERNEL)

    def _run(self, peer):
        for _ in range(self._number):
            request = peer.receive(c.Request)
            self.effects.append(request.effect)
            response = self._answer or c.Response(done=c.Done())
            response.id = request.id
            peer.send(response)
        self.all_there.set()
        assert peer.at_end()


def serve(daemon, device, script, **options):
    daemon("device", script, reply=KERNEL)
    with kvmcpu.Server([device], runtime_dir=daemon.runtime_dir, **options) as server:
        return server.serve_forever()


def test_a_source_acts_while_no_exit_comes(daemon, wired):
    controller = Controller(daemon, 2)

    def script(peer):
        os.write(wired.into, b"ab")
        assert controller.all_there.wait(5)
        reply = peer.ask(exits.pio_in(0x10))
        assert (reply.data, reply.effects[0].set_irq_line.level) == (b"\2\0\0\0"[:1], False)
        lines.append(reply.effects[0].set_irq_line)
        peer.stopped()

    lines = []
    before = time.monotonic_ns()
    assert serve(daemon, wired, script)
    lines[:0] = [effect.set_irq_line for effect in controller.effects]
    assert [(line.gsi, line.level) for line in lines] == [(5, True), (5, True), (5, False)]
    stamps = [before, *(line.decided_ns for line in lines), time.monotonic_ns()]
    assert stamps == sorted(stamps)


def test_exits_are_answered_beside_a_source_that_never_rests(daemon):
    class Restless(kvmcpu.Device):
        calls = 0

        def sources(self):
            return [(self, select.POLLIN, self.arrived)]

        def arrived(self, source, events):
            self.calls += 1

        @kvmcpu.pio_read(0x10)
        def read(self, access):
            return self.calls > 0

    with socket.socketpair()[0] as end:  # the other end is closed: readable for ever
        Restless.fileno = end.fileno
        daemon("device", lambda peer: [peer.ask(exits.pio_in(0x10)) for _ in range(50)]
               and peer.stopped())
        with kvmcpu.Server([Restless()], runtime_dir=daemon.runtime_dir) as server:
            server.serve_forever()
            assert server.served == 50


def test_sources_may_change_at_any_time(daemon):
    """Two ends that take turns, closed and opened with the same descriptor's number."""
    class Changing(kvmcpu.Device):
        def __init__(self):
            self.seen = []
            self.renew()

        def renew(self):
            self.near, self.far = socket.socketpair()
            self.far.send(b"x")

        def sources(self):
            return [(self.near, select.POLLIN, self.arrived)] if len(self.seen) < 3 else []

        def arrived(self, source, events):
            assert source is self.near
            self.seen.append(source.fileno())
            source.close()
            self.far.close()
            self.renew()

        @kvmcpu.pio_read(0x10)
        def read(self, access):
            return len(self.seen)

    device = Changing()
    script_sees = []

    def script(peer):
        while not script_sees or script_sees[-1] != b"\3":
            script_sees.append(peer.ask(exits.pio_in(0x10)).data)
        peer.stopped()

    serve(daemon, device, script)
    assert len(device.seen) == 3
    device.near.close()
    device.far.close()


class Timed(kvmcpu.Device):
    """Expires three times, 20 ms apart."""

    def __init__(self):
        self.due = time.monotonic() + 0.02
        self.late = []

    def deadline(self):
        return self.due if len(self.late) < 3 else None

    def expired(self):
        self.late.append(time.monotonic() - self.due)
        self.due = time.monotonic() + 0.02
        return [kvmcpu.wake(0)] if len(self.late) == 3 else None

    @kvmcpu.pio_read(0x10)
    def read(self, access):
        return 0


def test_deadlines(daemon):
    device = Timed()
    controller = Controller(daemon, 1)

    def script(peer):
        assert controller.all_there.wait(5)
        peer.stopped()

    serve(daemon, device, script)
    assert len(device.late) == 3 and min(device.late) >= 0
    assert controller.effects[0].HasField("wake")


def test_no_control_connection_without_an_effect(daemon, wired):
    """There is no control socket here at all."""
    serve(daemon, wired, lambda peer: peer.ask(exits.pio_in(0x10)) and peer.stopped())


def test_serve_one_times_out_beside_sources(daemon, wired):
    go = threading.Event()
    daemon("device", lambda peer: go.wait(5) and peer.stopped(), reply=KERNEL)
    with kvmcpu.Server([wired], runtime_dir=daemon.runtime_dir) as server:
        with pytest.raises(kvmcpu.Timeout):
            server.serve_one(timeout=0.01)
        go.set()
        assert not server.serve_one(timeout=5)


def test_an_effect_for_which_nobody_listens_comes_out(daemon, wired):
    def script(peer):
        os.write(wired.into, b"a")
        assert peer.at_end()

    with pytest.raises(kvmcpu.ConnectError):
        serve(daemon, wired, script)


def test_an_effect_while_the_vm_ends_does_not_hide_its_last_words(daemon, wired):
    def script(peer):
        os.write(wired.into, b"a")
        peer.stopped()

    assert serve(daemon, wired, script).code == x.NOTICE_CODE_STOPPED


def test_an_effect_that_the_daemon_refuses_comes_out(daemon, wired):
    Controller(daemon, 1, c.Response(error=c.Error(code=1, message="no, because")))

    def script(peer):
        os.write(wired.into, b"a")
        assert peer.at_end()

    with pytest.raises(kvmcpu.ControlError, match="no, because"):
        serve(daemon, wired, script)


def test_what_a_sources_handler_raises_comes_out(daemon, wired):
    wired.arrived = lambda source, events: 1 / 0

    def script(peer):
        os.write(wired.into, b"a")
        assert peer.at_end()

    with pytest.raises(ZeroDivisionError):
        serve(daemon, wired, script)


def test_a_source_that_is_not_open_is_named(daemon, wired):
    wired.sources = lambda: [(999, select.POLLIN, wired.arrived)]
    with pytest.raises(ValueError, match="Wired.sources.* 999"):
        serve(daemon, wired, lambda peer: peer.at_end())


def test_raise_errors_of_one_kind(daemon, caplog):
    class Failing(kvmcpu.Device):
        @kvmcpu.pio_read(0x10)
        def wrong(self, access):
            raise ValueError

        @kvmcpu.pio_read(0x11)
        def full(self, access):
            raise OSError(28, "full")

    def script(peer):
        assert peer.ask(exits.pio_in(0x10)).status == x.REPLY_STATUS_BUS_ERROR
        peer.send(exits.pio_in(0x11))
        assert peer.at_end()

    with pytest.raises(OSError, match="full"):
        serve(daemon, Failing(), script, raise_errors=OSError)


def test_a_function_that_makes_devices_is_called_after_each_reset(daemon):
    class Counting(kvmcpu.Device):
        @kvmcpu.pio_read(0x10)
        def read(self, access):
            return len(made)

    made, ready = [], []

    def make():
        made.append(Counting())
        return made[-1:]

    def script(expected):
        def run(peer):
            assert peer.ask(exits.pio_in(0x10)).data == expected
            peer.stopped() if expected == b"\3" else peer.reset()
        return run

    daemon("device", [script(b"\1"), script(b"\2"), script(b"\3")])
    notice = kvmcpu.serve(make, runtime_dir=daemon.runtime_dir, ready=ready.append)
    assert notice.code == x.NOTICE_CODE_STOPPED
    assert [server.devices[0] for server in ready] == made


def test_devices_that_are_given_end_with_a_reset(daemon, wired):
    assert serve(daemon, wired, lambda peer: peer.reset()).code == x.NOTICE_CODE_RESET
