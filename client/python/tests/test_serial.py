# SPDX-License-Identifier: MIT
"""The serial port joined to what is at its other end."""

import os
import pathlib
import select
import socket
import termios
import time

import pytest
from bus import Bus
from kvmcpu.devices import Serial
from kvmcpu.devices.streams import File, Stream, open_stream

COM1 = 0x3F8
RBR, THR, IER, IIR, FCR, LCR, MCR, LSR = 0, 0, 1, 2, 2, 3, 4, 5
LINE = 4


class Port(Bus):
    """A Serial with a stream, FIFOs on, interrupts gated through."""

    def __init__(self, stream=None):
        self.serial = Serial(stream)
        super().__init__(self.serial)
        self.put(FCR, 0x01)
        self.put(MCR, 0x0B)

    def get(self, register):
        return self.read(COM1 + register)

    def put(self, register, value):
        self.write(COM1 + register, value)

    def send(self, data):
        """Sends as a driver does that looks first; returns how much went."""
        for number, byte in enumerate(data):
            if not self.get(LSR) & 0x20:
                return number
            self.put(THR, byte)
        return len(data)

    def received(self):
        """Everything in the receiver, as a driver reads it."""
        data = bytearray()
        while self.get(LSR) & 1:
            data.append(self.get(RBR))
        return bytes(data)

    def pump(self, timeout=5.0):
        """One round of the server's: waits until a source is ready, and calls it."""
        if self.serial.deadline() is not None:
            return self.take(self.serial.expired())
        entries = self.serial.sources()
        poll = select.poll()
        for source, events, _ in entries:
            poll.register(source, events)
        ready = poll.poll(timeout * 1000)
        assert ready, "no source gets ready"
        for descriptor, events in ready:
            for source, mask, handler in entries:
                number = source if isinstance(source, int) else source.fileno()
                if number == descriptor:
                    self.take(handler(source, events))

    def pump_until(self, condition):
        end = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < end
            self.pump()


@pytest.fixture
def opened():
    """open_stream(), closed after the test."""
    streams = []

    def make(*arguments, **options):
        streams.append(open_stream(*arguments, **options))
        return streams[-1]

    yield make
    for stream in streams:
        stream.close()


def test_nobody():
    port = Port()
    assert port.send(b"x" * 100) == 100
    assert port.serial.sources() == [] and port.serial.deadline() is None


def test_a_file(opened, tmp_path):
    path = tmp_path / "log"
    path.write_text("of another run")
    port = Port(opened(str(path)))
    port.put(IER, 2)
    assert (port.get(IIR), port.lines) == (0xC2, {LINE: False})
    assert port.send(b"hello") == 5
    assert path.read_bytes() == b"hello"
    assert port.changes[-1] == (LINE, True)
    assert port.serial.save()["out"] == (5).to_bytes(8, "little")


def test_loopback_stays_inside(opened, tmp_path):
    path = tmp_path / "log"
    port = Port(opened(str(path)))
    port.put(MCR, 0x1B)
    port.send(b"inside")
    assert (port.received(), path.read_bytes()) == (b"inside", b"")


def test_a_string_instruction_is_held_rather_than_cut(opened, tmp_path):
    """32 KiB without a look at the transmitter, to a reader that is slow."""
    path = str(tmp_path / "console")
    port = Port(opened(f"unix:{path}"))
    data = bytes(range(256)) * 64
    with socket.socket(socket.AF_UNIX) as peer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer.connect(path)
        port.pump()
        got = bytearray()
        port.serial.stream.wait = lambda: got.extend(peer.recv(65536))
        for _ in range(2):
            for byte in data:
                port.put(THR, byte)
        while port.serial.uart.under_way:
            got += peer.recv(65536)
            port.pump()
        while len(got) < 2 * len(data):
            got += peer.recv(65536)
        assert got == data * 2


class Unix:
    def __init__(self, opened, tmp_path):
        self.path = str(tmp_path / "console")
        self.stream = opened(f"unix:{self.path}")
        self.peers = []

    def connect(self):
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(5)
        peer.connect(self.path)
        self.peers.append(peer)
        return peer


@pytest.fixture
def unix(opened, tmp_path):
    made = Unix(opened, tmp_path)
    yield made
    for peer in made.peers:
        peer.close()


def test_unix_input_raises_the_line_and_output_comes_back(unix):
    port = Port(unix.stream)
    port.put(IER, 1)
    assert port.send(b"to nobody") == 9
    peer = unix.connect()
    port.pump()
    peer.sendall(b"hi")
    port.pump()
    assert (port.lines, port.get(IIR)) == ({LINE: True}, 0xC4)
    assert port.received() == b"hi"
    assert port.lines == {LINE: False}
    port.send(b"yo")
    assert peer.recv(100) == b"yo"


def test_input_at_full_speed_loses_nothing(unix):
    port = Port(unix.stream)
    peer = unix.connect()
    port.pump()
    data, got = os.urandom(20000), bytearray()
    peer.sendall(data)
    peer.close()
    while len(got) < len(data):
        if not port.get(LSR) & 1:
            port.pump()
        got += port.received()
        assert not port.serial.uart.lsr_errors
    assert got == data


def test_no_source_while_the_fifo_is_full(unix):
    port = Port(unix.stream)
    peer = unix.connect()
    port.pump()
    peer.sendall(b"x" * 40)
    port.pump()
    assert [events for _, events, _ in port.serial.sources()] == [0]
    assert port.received() == b"x" * 40


@pytest.mark.parametrize("clear", [lambda port: port.put(FCR, 0x03),
                                   lambda port: (port.put(FCR, 0), port.put(FCR, 1))])
def test_input_goes_on_when_the_fifo_is_cleared(unix, clear):
    port = Port(unix.stream)
    peer = unix.connect()
    port.pump()
    peer.sendall(b"x" * 16 + b"y" * 3)
    port.pump()
    clear(port)
    port.pump()
    assert port.received() == b"yyy"


def test_unix_one_after_the_other(unix):
    port = Port(unix.stream)
    first, second = unix.connect(), unix.connect()
    port.pump()
    second.sendall(b"2")
    first.sendall(b"1")
    port.pump()
    assert port.received() == b"1"
    first.close()
    port.pump_until(lambda: port.get(LSR) & 1)
    assert port.received() == b"2"
    port.send(b"x")
    assert second.recv(1) == b"x"


def test_unix_half_closed_is_still_a_reader(unix):
    port = Port(unix.stream)
    peer = unix.connect()
    port.pump()
    peer.sendall(b"all")
    peer.shutdown(socket.SHUT_WR)
    port.pump_until(lambda: port.get(LSR) & 1)
    assert port.received() == b"all"
    port.send(b"answer")
    assert peer.recv(100) == b"answer"
    peer.close()
    port.pump()
    other = unix.connect()
    port.pump()
    port.send(b"again")
    assert other.recv(100) == b"again"


def test_unix_what_was_sent_before_leaving_is_received(unix):
    port = Port(unix.stream)
    peer = unix.connect()
    port.pump()
    peer.sendall(b"z" * 50)
    peer.close()
    port.pump()
    port.send(b"to somebody who has gone")
    assert port.received() == b"z" * 50


def test_a_slow_reader_keeps_the_transmitter_busy(unix):
    port = Port(unix.stream)
    port.put(IER, 2)
    peer = unix.connect()
    port.pump()
    data = os.urandom(1 << 15)
    sent, got, stalls = 0, bytearray(), 0
    while sent < len(data):
        # Up to 16 bytes whenever the transmitter is empty, as Linux does.
        while sent < len(data) and port.get(LSR) & 0x20:
            for byte in data[sent:sent + 16]:
                port.put(THR, byte)
            sent += 16
        if not port.get(LSR) & 0x20:
            stalls += 1
            assert port.get(IIR) == 0xC1 and not port.lines[LINE]
            got += peer.recv(1 << 16)
            port.pump()
            if port.get(LSR) & 0x20:
                assert port.lines[LINE] and port.get(IIR) == 0xC2
    unix.stream.close()
    while chunk := peer.recv(1 << 16):
        got += chunk
    assert stalls and got == data


def test_unix_names(opened, tmp_path):
    path = tmp_path / "console"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    stream = opened(f"unix:{path}")
    with pytest.raises(OSError, match="in use by another process"):
        open_stream(f"unix:{path}")
    stream.close()
    assert not path.exists()
    path.write_text("a file")
    with pytest.raises(OSError):
        open_stream(f"unix:{path}")
    assert path.read_text() == "a file"


def open_terminal(path):
    return os.open(path, os.O_RDWR | os.O_NOCTTY)


def test_pty(opened):
    stream = opened("pty")
    port = Port(stream)
    port.put(IER, 1)
    assert port.send(b"x" * 10000) == 10000  # nobody is there, nobody is waited for
    terminal = open_terminal(stream.path)
    try:
        assert not termios.tcgetattr(terminal)[3] & termios.ECHO
        port.pump()
        os.write(terminal, b"typed\x03")
        port.pump_until(lambda: port.lines.get(LINE))
        assert port.received() == b"typed\x03"
        port.send(b"a\nb")
        assert b"".join(os.read(terminal, 1) for _ in range(3)) == b"a\nb"
    finally:
        os.close(terminal)
    port.pump()
    assert [mask for _, mask, _ in port.serial.sources()] == [select.POLLIN]  # inotify alone
    assert port.send(b"x" * 10000) == 10000


def test_pty_with_a_slow_reader_loses_nothing(opened):
    stream = opened("pty")
    port = Port(stream)
    terminal = open_terminal(stream.path)
    try:
        port.pump()
        data, got = os.urandom(20000), bytearray()
        sent = 0
        while sent < len(data):
            sent += port.send(data[sent:])
            if sent < len(data):
                got += os.read(terminal, 4096)
                port.pump()
        os.set_blocking(terminal, False)
        end = time.monotonic() + 5
        while len(got) < len(data) and time.monotonic() < end:
            try:
                got += os.read(terminal, 4096)
            except BlockingIOError:
                select.select([terminal], [], [], 0.1)
            if port.serial.uart.under_way:
                port.pump()
        assert got == data
    finally:
        os.close(terminal)


def test_a_reader_that_leaves_a_full_pty_lets_the_guest_go_on(opened):
    stream = opened("pty")
    port = Port(stream)
    terminal = open_terminal(stream.path)
    port.pump()
    while port.send(b"x" * 4096) == 4096:
        pass
    os.close(terminal)
    port.pump_until(lambda: port.get(LSR) & 0x20)


def successor(path, port, **changed):
    """The port of the next process, restored from what this one saved."""
    saved = {**port.serial.save(), **changed}
    stream = File(path, keep=True)
    following = Serial(stream)
    bus = Bus(following)
    bus.take(following.restore(saved))
    bus.serial = following
    bus.close = stream.close
    return bus


@pytest.mark.parametrize("unanswered", [b"", b"c", b"cdef"])
def test_output_of_an_unfinished_exit_is_not_written_twice(tmp_path, unanswered):
    path = tmp_path / "log"
    stream = File(path, keep=True)
    port = Port(stream)
    port.serial.restore(None)
    port.send(b"ab")
    saved = port.serial.save()
    port.send(unanswered)  # killed behind this, before the state was stored
    following = successor(path, port, **saved)
    for byte in b"cdefg":
        following.write(COM1, byte)
    assert path.read_bytes() == b"abcdefg"
    assert following.serial.save()["out"] == (7).to_bytes(8, "little")
    stream.close()
    following.close()


def test_a_new_vm_empties_the_file_once(tmp_path):
    path = tmp_path / "log"
    path.write_text("of another VM")
    stream = File(path, keep=True)
    for text in (b"one", b"two"):  # the second after a reset
        port = Port(stream)
        port.serial.restore(None)
        port.send(text)
    assert path.read_bytes() == b"onetwo"
    stream.close()


@pytest.mark.parametrize("pending", [False, True])
def test_the_line_is_set_anew_after_restoring(tmp_path, pending):
    port = Port(File(tmp_path / "log"))
    port.put(IER, 2)
    if not pending:
        assert port.get(IIR) == 0xC2
    following = successor(tmp_path / "log", port)
    assert following.changes == [(LINE, pending)]
    following.close()
    port.serial.stream.close()


def test_what_was_under_way_reaches_the_next_reader(unix, tmp_path):
    port = Port(unix.stream)
    port.put(IER, 2)
    unix.connect()
    port.pump()
    while port.get(LSR) & 0x20:
        port.put(THR, 0x41)
    assert port.get(IIR) == 0xC1
    following = successor(tmp_path / "log", port)
    assert (tmp_path / "log").read_bytes() == b"A"
    assert following.changes == [(LINE, True)]
    following.close()


def test_a_vm_without_interrupt_controller_gets_no_effects():
    from kvmcpud.v1 import hello_pb2
    serial = Serial(Stream())
    bus = Bus(serial)
    serial.attached(hello_pb2.VmInfo(irqchip=hello_pb2.IRQCHIP_KIND_NONE))
    bus.write(COM1 + MCR, 8)
    bus.write(COM1 + IER, 2)
    assert not bus.changes and bus.read(COM1 + IIR) == 2


def test_open_files_are_not_leaked(opened, tmp_path):
    before = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    for where in ("pty", f"unix:{tmp_path}/s", str(tmp_path / "f"), "none"):
        stream = opened(where)
        stream.close()
        stream.close()
    assert len(list(pathlib.Path("/proc/self/fd").iterdir())) == before
