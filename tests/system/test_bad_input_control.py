# SPDX-License-Identifier: MIT
"""Controllers and monitors that misbehave: requests that are none, that ask for what is
not there, or that come by the thousand from somebody who does not read.

A request that fails is answered and costs nothing; bytes that are no request cost
the connection, with a last word to the peer.
"""

import re
import select

import pytest
from devices import WAIT_REPLY
from harness import eventually
from raw import INVALID, Peer, hello
from scene import Scene

from kvmcpu import schema
from kvmcpu.framing import frame
from kvmcpu.schema import control, exit_, hello as greeting

RAM = 128 << 20  # the daemon's default
BROKEN = {
    "ones": (b"\xff" * 64, "no frame"),
    "2-gigabytes": (b"\x80\x80\x80\x80\x08", "longer"),
    "just-too-long": (frame(bytes(schema.STREAM_FRAME_MAX + 1))[:100], "longer"),
    "no-message": (frame(b"\xff\xff\xff"), "no Request|no Filter"),
    "another-hello": (frame(hello("control", minor=1).SerializeToString()), "no Request|no Filter"),
}
SPACE, KIND = greeting.SPACE_PIO, exit_.EXIT_KIND_PIO
BAD_FILTERS = {
    "vcpu-64": (greeting.Filter(vcpus=[64]), "vcpu 64"),
    "many-vcpus": (greeting.Filter(vcpus=[0] * 65), "65 vcpus"),
    "kind-99": (greeting.Filter(kinds=[99]), "kind 99"),
    "kind-0": (greeting.Filter(kinds=[0]), "kind 0"),
    "many-kinds": (greeting.Filter(kinds=[KIND] * 65), "65 kinds"),
    "backwards": (greeting.Filter(ranges=[greeting.AddressRange(space=SPACE, first=2, last=1)]),
                  "range 0.*0x2.*0x1"),
    "space-0": (greeting.Filter(ranges=[greeting.AddressRange(last=1)]), "space 0"),
    "many-ranges": (greeting.Filter(ranges=[greeting.AddressRange(space=SPACE)] * 65),
                    "65 ranges"),
}


def call(name, **fields):
    return control.Request(**{name: getattr(control, name.title().replace("_", "") + "Call")(
        **fields)})


def effect(**kind):
    return control.Request(effect=exit_.Effect(**kind))


REFUSED = {
    "read-0": (call("read_memory"), "RANGE", "0 bytes"),
    "read-too-much": (call("read_memory", size_bytes=524289), "RANGE", "524289"),
    "read-behind": (call("read_memory", address=RAM, size_bytes=1), "RANGE", "0x8000000"),
    "read-across": (call("read_memory", address=RAM - 1, size_bytes=2), "RANGE", "0x7ffffff"),
    "read-wraps": (call("read_memory", address=2**64 - 1, size_bytes=2), "RANGE", "wrap"),
    "write-0": (call("write_memory"), "RANGE", "0 bytes"),
    "write-behind": (call("write_memory", address=RAM, data=b"1"), "RANGE", "0x8000000"),
    "write-wraps": (call("write_memory", address=2**64 - 1, data=b"12"), "RANGE", "wrap"),
    "write-too-much": (call("write_memory", data=bytes(524289)), "RANGE", "524289"),
    "dump-2": (call("dump", vcpu=2), "RANGE", "vCPU 2.*has 2"),
    "dump-64": (call("dump", vcpu=64), "RANGE", "64"),
    "pause-2": (call("pause", vcpus=[0, 2]), "RANGE", "vCPU 2"),
    "pause-for-ever": (call("pause", timeout_ms=600001), "RANGE", "600001"),
    "resume-64": (call("resume", vcpus=[64]), "RANGE", "64"),
    "stop-64": (call("stop", code=64), "RANGE", "64"),
    "stop-reason": (call("stop", reason="r" * 201), "RANGE", "201"),
    "no-effect": (control.Request(effect=exit_.Effect()), "RANGE", "kind"),
    "effect-line": (effect(set_irq_line=exit_.SetIrqLine(gsi=4)), "UNSUPPORTED", "irqchip none"),
    "effect-vcpu-2": (effect(nmi=exit_.Nmi(vcpu=2)), "RANGE", "vCPU 2"),
    "effect-vector-31": (effect(interrupt=exit_.Interrupt(vector=31)), "RANGE", "31"),
    "effect-memory": (effect(write_guest_memory=exit_.WriteGuestMemory(address=RAM, data=b"1")),
                      "RANGE", "0x8000000"),
    "no-call": (control.Request(), "INVALID", "does not know"),
}


@pytest.fixture
def scene(start, guest):
    return Scene(start, guest)


@pytest.mark.parametrize("what", BROKEN)
def test_no_request(scene, what):
    data, pattern = BROKEN[what]
    peer = scene.rude("control")
    peer.send(frame(control.Request(id=7, ping=control.PingCall()).SerializeToString()) + data)
    assert peer.response().id == 7
    last = peer.response()
    line = scene.said(pattern)
    assert last is not None, "cut off without a word"
    assert last.error.code == control.ERROR_CODE_INVALID and last.error.message in line
    assert peer.receive_some() == b""
    scene.goes_on()


@pytest.mark.parametrize("what", BROKEN)
def test_no_filter(scene, what):
    data, pattern = BROKEN[what]
    peer = scene.rude("monitor")
    peer.send(data)
    while peer.receive_some():
        pass
    scene.said(pattern)
    scene.goes_on()


@pytest.mark.parametrize("what", BAD_FILTERS)
def test_bad_filter(scene, what):
    filter_, pattern = BAD_FILTERS[what]
    peer = scene.rude("monitor")
    peer.send_message(filter_)
    while peer.receive_some():
        pass
    scene.said(pattern)
    scene.goes_on()
    peer = Peer(scene.daemon, "monitor")
    message = hello("monitor")
    message.monitor.filter.CopyFrom(filter_)
    peer.send_message(message)
    scene.refused(peer, INVALID, pattern)


def test_refused_requests(scene):
    """All on one connection, each with its id, and the VM is as it was."""
    peer = scene.rude("control")
    before = scene.control.status()
    for number, (request, code, pattern) in enumerate(REFUSED.values(), 1000):
        request.id = number
        peer.send_message(request)
        response = peer.response()
        assert response.id == number and response.WhichOneof("result") is None
        assert response.error.code == control.ErrorCode.Value("ERROR_CODE_" + code), request
        assert re.search(pattern, response.error.message), response
    after = scene.control.status()
    assert [v.paused for v in after.vcpus] == [v.paused for v in before.vcpus]
    assert after.state == before.state
    scene.goes_on()


def test_request_of_a_newer_kind(scene):
    """An unknown field is an unknown request; the next one is answered all the same."""
    peer = scene.rude("control")
    peer.send(frame(b"\x08\x05\xfa\x07\x00"))  # id 5, field 127 of no bytes
    response = peer.response()
    assert (response.id, response.error.code) == (5, control.ERROR_CODE_INVALID)
    peer.send(frame(control.Request(id=6, ping=control.PingCall()).SerializeToString()))
    assert peer.response().WhichOneof("result") == "done"
    scene.goes_on()


def test_request_cut_short(scene):
    payload = frame(call("read_memory", address=1, size_bytes=1).SerializeToString())
    for size in (1, len(payload) - 1):
        peer = scene.rude("control")
        peer.send(payload[:size])
        peer.close()
        scene.said("within a frame")
        scene.goes_on()


def test_a_thousand_requests_unread(scene):
    """Small answers wait in the socket and the queue; large ones are too many at last."""
    peer = scene.rude("control")
    peer.send(b"".join(frame(control.Request(id=n, ping=control.PingCall()).SerializeToString())
                       for n in range(1, 1001)))
    scene.goes_on()
    assert [peer.response().id for _ in range(1000)] == list(range(1, 1001))
    request = frame(call("schema").SerializeToString())
    try:
        peer.send(request * 1000)
    except (BrokenPipeError, ConnectionResetError):
        pass  # cut off before it had sent all
    scene.said("does not read its answers")
    answers = 0
    while peer.receive_some():
        answers += 1
    assert answers
    scene.goes_on()


@pytest.mark.parametrize("waits", ["pause", "dump"])
def test_gone_before_the_answer(scene, waits):
    """The call waits for a vCPU that waits for its device; the controller does not."""
    peer = scene.rude(vcpus=[1])
    scene.control.resume([1])
    peer.exit()
    for _ in range(50):
        controller = scene.rude("control")
        controller.send_message(call(waits, **({"vcpus": [1]} if waits == "pause" else {"vcpu": 1})))
        controller.send_message(call("status"))
        controller.close()
    eventually("none but three clients", lambda: len(scene.control.clients().clients) == 3)
    assert scene.control.status().vcpus[1].wait.cause == WAIT_REPLY
    scene.control.resume([1])
    scene.goes_on()


def test_requests_queue_behind_one_that_waits(scene):
    """More than a frame's worth of requests behind a pause: they wait in the socket."""
    peer = scene.rude(vcpus=[1])
    scene.control.resume([1])
    exit = peer.exit()
    controller = scene.rude("control")
    controller.send_message(call("pause", vcpus=[1], timeout_ms=600000))
    filler = frame(call("write_memory", address=0xA000, data=bytes(500000)).SerializeToString())
    controller.socket.setblocking(False)
    sent = 0
    while select.select([], [controller.socket], [], 0.3)[1]:
        sent += controller.socket.send((2 * filler)[sent % len(filler):][:len(filler)])
        assert sent < 16 << 20, "the daemon reads on without an end"
    assert sent > schema.STREAM_FRAME_MAX
    controller.socket.settimeout(20)
    scene.goes_on()
    peer.send_message(exit_.ExitReply(seq=exit.seq, data=bytes(4)))
    assert controller.response().WhichOneof("result") == "status"
    rest = -sent % len(filler)
    controller.send(filler[len(filler) - rest:] if rest else b"")
    for _ in range(-(-sent // len(filler))):
        assert controller.response().WhichOneof("result") == "done"
    scene.goes_on()

