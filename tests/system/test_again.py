# SPDX-License-Identifier: MIT
"""An exit that comes again. The test plays the daemon, so that it can kill kvmcpu-pc at
every point of an exchange: before the reply, and, by what is left in the files,
between writing output and saving that it was written.
"""

import os
import shutil
import socket
import subprocess
import tempfile

import pytest
from harness import DEADLINE, KVMCPU_PC, environment
from raw import Link

from kvmcpu import schema

INSTANCE = 0x123456789ABCDEF0
READ, WRITE = schema.exit_.DIRECTION_READ, schema.exit_.DIRECTION_WRITE
THR, IIR, IER, MCR, SCR = 0x3F8, 0x3FA, 0x3F9, 0x3FC, 0x3FF


class Channel(Link):
    """A device channel of one kvmcpu-pc, from the daemon's side."""

    def __init__(self, listener, words, instance):
        super().__init__()
        self.process = subprocess.Popen([str(word) for word in words], env=environment(),
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.socket, _ = listener.accept()
        self.socket.settimeout(DEADLINE)
        self.receive(schema.hello.Hello())
        self.send_message(schema.hello.HelloReply(
            status=schema.hello.HELLO_STATUS_OK, major=schema.PROTOCOL_MAJOR, client_id=1,
            vm=schema.hello.VmInfo(name="t", vcpus=1, memory_bytes=1 << 26, instance=instance,
                                   irqchip=schema.hello.IRQCHIP_KIND_KERNEL)))

    def send(self, data):
        self.socket.sendall(data)

    def receive_some(self):
        return self.socket.recv(min(65536, len(self._frames.room())))

    def offer(self, seq, port, write=None, **more):
        exit = schema.exit_.Exit(seq=seq, **more)
        exit.pio.port, exit.pio.size, exit.pio.count = port, 1, 1
        exit.pio.direction = READ if write is None else WRITE
        if write is not None:
            exit.pio.data = write
            exit.pio.count = len(write)
        self.send_message(exit)

    def ask(self, *words, **more):
        """The whole exchange; the ExitReply."""
        self.offer(*words, **more)
        reply = self.receive(schema.exit_.ExitReply())
        assert reply is not None and reply.status == schema.exit_.REPLY_STATUS_OK
        return reply

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)
        self.socket.close()


@pytest.fixture
def pc(tmp_path):
    """pc() starts kvmcpu-pc, pc.out and pc.state are its files."""
    directory = tempfile.mkdtemp(prefix="kv-", dir="/tmp")
    os.mkdir(f"{directory}/t")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{directory}/t/device.sock")
    listener.listen()
    listener.settimeout(DEADLINE)
    begun = []

    def begin(instance=INSTANCE):
        begun.append(Channel(listener, [
            KVMCPU_PC, "--vm", "t", "--runtime-dir", directory, "--debugcon", "none",
            "--serial", begin.out, "--state", begin.state, "--log", "error"], instance))
        return begun[-1]

    begin.out, begin.state = tmp_path / "out", tmp_path / "state"
    yield begin
    for channel in begun:
        channel.kill()
    listener.close()
    shutil.rmtree(directory)


def test_served_before_the_kill(pc):
    """The reply was on its way, or not: the write is not done a second time."""
    first = pc()
    first.ask(1, THR, write=b"a")
    first.ask(2, THR, write=b"b")
    first.kill()
    second = pc()
    second.ask(2, THR, write=b"b", redelivered=True)
    second.ask(3, THR, write=b"c")
    assert pc.out.read_bytes() == b"abc"


def test_a_read_with_an_effect_gets_its_answer_again(pc):
    """IIR tells once that the transmitter is empty."""
    first = pc()
    first.ask(1, IER, write=b"\2")
    assert first.ask(2, IIR).data == b"\2"
    first.kill()
    second = pc()
    assert second.ask(2, IIR, redelivered=True).data == b"\2"
    assert second.ask(3, IIR).data == b"\1"


def test_written_and_not_saved(pc):
    """The file is longer than the state knows: these bytes are not written again."""
    first = pc()
    first.ask(1, THR, write=b"abc")
    first.kill()
    pc.out.write_bytes(b"abcde")
    second = pc()
    second.ask(2, THR, write=b"defg", redelivered=True)
    second.ask(3, THR, write=b"h")
    assert pc.out.read_bytes() == b"abcdefgh"


def test_not_begun(pc):
    first = pc()
    first.ask(1, THR, write=b"a")
    first.kill()
    second = pc()
    second.ask(2, THR, write=b"b", redelivered=True)
    assert pc.out.read_bytes() == b"ab"


def test_a_power_off_whose_reply_was_lost_comes_again(pc):
    for redelivered in (False, True):
        channel = pc()
        reply = channel.ask(1, 0x605, write=b"\x20", redelivered=redelivered)
        assert [effect.stop_vm.reason for effect in reply.effects] == ["guest powered off"]
        channel.kill()


def test_registers_are_kept_and_the_line_is_told_when_it_changes(pc):
    first = pc()
    first.ask(1, SCR, write=b"\x5a")
    first.ask(2, MCR, write=b"\x08")
    reply = first.ask(3, IER, write=b"\2")
    assert [(effect.set_irq_line.gsi, effect.set_irq_line.level) for effect in reply.effects] == \
        [(4, True)]
    assert reply.effects[0].set_irq_line.decided_ns
    first.kill()
    second = pc()
    assert second.ask(4, SCR).data == b"\x5a"
    assert second.ask(5, IER).data == b"\2"


def test_another_instance_begins_anew(pc):
    first = pc()
    first.ask(1, SCR, write=b"\x5a")
    first.ask(2, THR, write=b"old")
    first.kill()
    second = pc(INSTANCE + 1)
    assert second.ask(2, SCR, redelivered=True).data == b"\0"
    second.ask(3, THR, write=b"new")
    assert pc.out.read_bytes() == b"new"
