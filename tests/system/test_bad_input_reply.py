# SPDX-License-Identifier: MIT
"""Answers that no exit asked for: each ends its channel with one Notice that says what
was wrong, none of it takes effect, and the exit is offered to the next client.
"""

import re

import pytest
from devices import PORT, counts
from harness import eventually
from raw import PROTOCOL, Ledger, claim, hello
from scene import Scene

from kvmcpu.framing import frame
from kvmcpu.schema import exit_

RAM = 128 << 20  # the daemon's default
FIRMWARE_FREE = 0xA000  # nobody's memory in this guest


def reply(seq, **fields):
    fields.setdefault("data", b"\1\0\0\0")
    return frame(exit_.ExitReply(seq=seq, **fields).SerializeToString())


def effects(*messages, count=1):
    return lambda seq: reply(seq, effects=[exit_.Effect(**m) for m in messages] * count)


def write(address, size):
    return effects({"write_guest_memory": exit_.WriteGuestMemory(address=address,
                                                                 data=b"\xee" * size)})


# What is sent in a reply's place, made from the exit's seq; what the Notice says.
BAD = {
    "ones": (lambda seq: b"\xff" * 64, "no frame"),
    "six-byte-length": (lambda seq: b"\x81\x80\x80\x80\x80\x00", "no frame"),
    "2-gigabytes": (lambda seq: b"\x80\x80\x80\x80\x08", "longer than 65536"),
    "just-too-long": (lambda seq: frame(bytes(65537)), "longer than 65536"),
    "longest-but-empty": (lambda seq: frame(bytes(65536)), "no ExitReply"),
    "nothing": (lambda seq: frame(b""), "seq 0 while exit"),
    "another-hello": (lambda seq: frame(hello("device", claims=[claim(1)]).SerializeToString()),
                      "seq|ExitReply|bytes of data"),
    "seq-before": (lambda seq: reply(seq - 1), r"seq \d+ while exit \d+ is in flight"),
    "seq-behind": (lambda seq: reply(seq + 1), r"seq \d+ while exit \d+ is in flight"),
    "seq-largest": (lambda seq: reply(2**64 - 1), "18446744073709551615"),
    "no-data": (lambda seq: reply(seq, data=b""), "0 bytes of data where 4"),
    "short": (lambda seq: reply(seq, data=b"\1\2\3"), "3 bytes of data where 4"),
    "long": (lambda seq: reply(seq, data=bytes(5)), "5 bytes of data where 4"),
    "much-data": (lambda seq: reply(seq, data=bytes(60000)), "60000 bytes of data where 4"),
    "bus-error-with-data": (lambda seq: reply(seq, status=2), "4 bytes of data where 0"),
    "unknown-status": (lambda seq: reply(seq, status=3), "status 3"),
    "unknown-large-status": (lambda seq: reply(seq, status=0x7FFFFFFF), "status 2147483647"),
    "two-at-once": (lambda seq: 2 * reply(seq), "bytes follow the reply"),
    "a-byte-behind": (lambda seq: reply(seq) + b"\0", "bytes follow the reply"),
    "unknown-effect": (lambda seq: reply(seq, effects=[exit_.Effect()]), "effect 0.*kind"),
    "too-many-effects": (effects({"wake": exit_.Wake(vcpu=0)}, count=65), "65 effects.*64"),
    "line-without-irqchip": (
        effects({"set_irq_line": exit_.SetIrqLine(gsi=4, level=True)}), "irqchip none"),
    "line-24": (effects({"set_irq_line": exit_.SetIrqLine(gsi=24)}), "line 24"),
    "vector-0": (effects({"interrupt": exit_.Interrupt(vector=0)}), "vector 0"),
    "vector-31": (effects({"interrupt": exit_.Interrupt(vector=31)}), "vector 31"),
    "vector-256": (effects({"interrupt": exit_.Interrupt(vector=256)}), "vector 256"),
    "interrupt-vcpu-2": (effects({"interrupt": exit_.Interrupt(vcpu=2, vector=32)}), "vCPU 2"),
    "interrupt-vcpu-99": (effects({"interrupt": exit_.Interrupt(vcpu=99, vector=32)}), "99"),
    "nmi-vcpu-2": (effects({"nmi": exit_.Nmi(vcpu=2)}), "vCPU 2"),
    "wake-vcpu-99": (effects({"wake": exit_.Wake(vcpu=99)}), "99"),
    "memory-behind-ram": (write(RAM, 1), "0x8000000"),
    "memory-across-the-end": (write(RAM - 1, 2), "2 bytes at 0x7ffffff"),
    "memory-wraps-around": (write(2**64 - 4, 8), "wrap around"),
    "memory-nothing": (write(FIRMWARE_FREE, 0), "0 bytes"),
    "memory-too-much": (write(FIRMWARE_FREE, 32769), "32769 bytes"),
    "stop-64": (effects({"stop_vm": exit_.StopVm(code=64)}), "stop code 64"),
    "stop-reason": (effects({"stop_vm": exit_.StopVm(reason="r" * 201)}), "201 bytes"),
    "good-then-bad": (effects(
        {"write_guest_memory": exit_.WriteGuestMemory(address=FIRMWARE_FREE, data=b"\xee")},
        {"stop_vm": exit_.StopVm(code=64)}), "effect 1: stop code 64"),
}


@pytest.fixture
def scene(start, guest):
    return Scene(start, guest)


def begin(scene):
    """A rude device that holds vCPU 1's exit."""
    peer = scene.rude(vcpus=[1])
    scene.control.resume([1])
    return peer, peer.exit()


def cut_off(scene, peer, pattern):
    """The peer gets its Notice and the end, the log the same words, the VM goes on."""
    notice = peer.exit()
    assert notice is not None, "cut off without a Notice"
    assert notice.WhichOneof("kind") == "notice" and notice.notice.code == PROTOCOL
    assert peer.receive_some() == b""
    line = scene.said(f"cut off: .*({pattern})")
    assert notice.notice.message in line
    peer.close()
    scene.goes_on()


def take_over(scene, exit, ledger=None):
    """A good client gets the same exit, marked, and two more."""
    ledger = ledger or Ledger()
    with scene.rude(vcpus=[1]) as successor:
        again, *more = successor.serve(ledger, 3)
        assert successor.readable()
        exit.redelivered = True
        assert again == exit
        assert not any(later.redelivered for later in more)
        assert counts(scene.control, 2)[1] == len(ledger.values[1])
    scene.goes_on()


@pytest.mark.parametrize("what", BAD)
def test_bad_reply(scene, what):
    make, pattern = BAD[what]
    peer, exit = begin(scene)
    tick = scene.control.status().vcpus[1].tick
    peer.send(make(exit.seq))
    cut_off(scene, peer, pattern)
    status = scene.control.status().vcpus[1]
    assert (status.wait.exit_seq, status.tick) == (exit.seq, tick)
    assert scene.control.read_memory(FIRMWARE_FREE, 1) == b"\0", "half of it took effect"
    take_over(scene, exit)


def test_clock_overflows_later(scene):
    """The clock may come to its end, and then every further tick is too much."""
    peer, exit = begin(scene)
    peer.send(reply(exit.seq, ticks=2**64 - 1 - exit.tick))
    exit = peer.exit()
    assert exit.tick == 2**64 - 1
    peer.send(reply(exit.seq, ticks=1))
    cut_off(scene, peer, "1 ticks.*vCPU 1")
    with scene.rude(vcpus=[1]) as successor:
        again = successor.exit()
        assert (again.seq, again.tick) == (exit.seq, 2**64 - 1)
        successor.send(reply(again.seq))
        assert successor.exit().seq > exit.seq
    scene.goes_on()


def test_reply_before_any_exit(scene):
    """It lies in the socket until an exit is there, whose seq is another."""
    peer = scene.rude(vcpus=[1])
    peer.send(reply(4711))
    scene.goes_on()
    scene.control.resume([1])
    exit = peer.exit()
    cut_off(scene, peer, "seq 4711")
    take_over(scene, exit)


def test_reply_cut_short(scene):
    """The end of the stream within a reply is the end of a client, no answer."""
    peer, exit = begin(scene)
    whole = reply(exit.seq)
    peer.send(whole[:-1])
    peer.close()
    eventually("its end in the log", lambda: 'client 3 "rude"' in scene.daemon.stderr.rpartition(
        "answers")[2])
    scene.goes_on()
    take_over(scene, exit)


def test_reply_after_half_a_close(scene):
    """A client that shuts down its sending side gets its exits no more, but what it
    had answered counts."""
    peer, exit = begin(scene)
    ledger = Ledger()
    peer.send_message(ledger.answer(exit))
    again = peer.exit()
    peer.socket.shutdown(1)
    assert peer.receive_some() == b""
    peer.close()
    take_over(scene, again, ledger)


def test_bad_reply_while_another_vcpu_waits_for_its_turn(scene):
    """Both vCPUs' exits go to whoever comes next."""
    scene.good.close()
    peer = scene.rude(claims=[claim(PORT, PORT + 31)])
    scene.control.resume([1])
    exit = peer.exit()
    other = 1 - exit.vcpu
    scene.control.wait_until(lambda s: s.vcpus[other].HasField("wait"))
    peer.send(reply(exit.seq + 100))
    assert peer.exit().notice.code == PROTOCOL
    scene.said("in flight")
    with scene.rude(claims=[claim(PORT, PORT + 31)]) as successor:
        first = successor.serve_each(Ledger(), (0, 1))
        assert first[exit.vcpu].seq == exit.seq and first[exit.vcpu].redelivered
        assert not first[other].redelivered


@pytest.mark.parametrize("bad, pattern", [
    ({"set_irq_line": exit_.SetIrqLine(gsi=24)}, "24"),
    ({"interrupt": exit_.Interrupt(vector=32)}, "interrupt controller")],
    ids=["line-24", "vector"])
def test_effects_with_an_irqchip(start, guest, bad, pattern):
    """Lines have an end, and vectors are the controller's there. Only vCPU 0 runs."""
    scene = Scene(start, guest, "--irqchip", "kernel")
    exit = scene.good.exit()
    scene.good.send(effects(bad)(exit.seq))
    notice = scene.good.exit().notice
    assert notice.code == PROTOCOL and re.search(pattern, notice.message)
    assert notice.message in scene.said("cut off")
    with scene.rude(claims=[claim(PORT)]) as successor:
        assert successor.serve(scene.ledger)[0].seq == exit.seq
