# SPDX-License-Identifier: MIT
"""What strangers send before they are welcome: bytes that are no frame, frames that are
no Hello, and Hellos that ask for what cannot be granted.

Each gets one message, to the peer and to the log, costs that connection alone, and
the VM goes on, by the guest's own count.
"""

import pytest
from devices import PORT
from harness import eventually
from raw import INVALID, LIMIT, MMIO, OK, OVERLAP, VERSION, Peer, claim, hello
from scene import Scene

from kvmcpu import schema
from kvmcpu.framing import frame

ROLES = ("device", "monitor", "control")
GOOD = {role: hello(role, claims=[claim(0x700)]) for role in ROLES}
HELLO_MAX = schema.HELLO_FRAME_MAX

# Bytes in Hello's place, the status of the refusal and what its message says.
NO_HELLO = {
    "ones": (b"\xff" * 64, INVALID, "no frame"),
    "text": (b"GET / HTTP/1.1\r\n" * 20, INVALID, "no Hello"),
    "nothing": (frame(b""), VERSION, "protocol 0.0"),
    "2-gigabytes": (b"\x80\x80\x80\x80\x08", INVALID, "longer"),
    "just-too-long": (frame(bytes(HELLO_MAX + 1))[:100], INVALID, "longer"),
    "six-byte-length": (b"\x81\x80\x80\x80\x80\x00", INVALID, "no frame"),
    "33-bit-length": (b"\xff\xff\xff\xff\x1f", INVALID, "no frame"),
    "zeros": (b"\0" * 64, VERSION, "protocol 0.0"),
    "longest-but-empty": (frame(bytes(HELLO_MAX)), INVALID, "no Hello"),
}

OUT_OF_RANGE = {
    "no-claims": ([], "0 claims"),
    "too-many": ([claim(n, n, MMIO) for n in range(schema.MAX_CLAIMS + 1)], "16385 claims"),
    "backwards": ([claim(9, 8)], "claim 0: pio.*0x9.*0x8"),
    "past-64k": ([claim(1), claim(0xFFFF, 0x10000)], "claim 1: pio.*0xffff"),
    "around-2^64": ([claim(2**64 - 8, 7, MMIO)], "mmio.*0xfffffffffffffff8.*0x7"),
    "msr-past-32-bits": ([claim(0, 2**32, schema.hello.SPACE_MSR)], "msr.*0x100000000"),
    "halt-1": ([claim(0, 1, schema.hello.SPACE_HALT)], "halt"),
    "no-space": ([claim(0, 0, 0)], "space 0"),
    "unknown-space": ([claim(0, 0, 77)], "space 77"),
    "unknown-absence": ([claim(1, absence=9)], "absence 9"),
    "control-character": ([claim(1, name="a\x1b[2Jb")], "0x1b"),
    "long-name": ([claim(1, name="n" * 65)], "65 bytes"),
    "its-own-overlap": ([claim(0x10, 0x1F), claim(1), claim(0x1F, 0x20)],
                        "its own.*0x10-0x1f.*0x1f-0x20"),
}


@pytest.fixture
def scene(start, guest):
    return Scene(start, guest)


@pytest.mark.parametrize("role", ROLES)
def test_no_hello(scene, role):
    for data, status, pattern in NO_HELLO.values():
        peer = Peer(scene.daemon, role)
        peer.send(data)
        scene.refused(peer, status, pattern)


@pytest.mark.parametrize("role", ROLES)
def test_hello_cut_short(scene, role):
    """Whoever closes within a frame hears nothing any more, but the log tells of it."""
    payload = frame(GOOD[role].SerializeToString())
    for size in (1, len(payload) // 2, len(payload) - 1):
        peer = Peer(scene.daemon, role)
        peer.send(payload[:size])
        peer.close()
        scene.said("Hello|frame")
        scene.goes_on()


@pytest.mark.parametrize("role", ROLES)
def test_other_versions_and_sockets(scene, role):
    for major in (0, 2, 2**32 - 1):
        peer = Peer(scene.daemon, role)
        peer.send_message(hello(role, major=major, claims=[claim(0x700)]))
        scene.refused(peer, VERSION, rf"protocol {major}\.0, this daemon 1\.")
    for other in set(ROLES) - {role}:
        peer = Peer(scene.daemon, role)
        peer.send_message(GOOD[other])
        scene.refused(peer, INVALID, rf"{role}\.sock.*{other}")
    peer = Peer(scene.daemon, role)
    peer.send_message(schema.hello.Hello(major=1, client="nobody"))
    scene.refused(peer, INVALID, "no role")


@pytest.mark.parametrize("role", ROLES)
def test_newer_minor_version_is_welcome(scene, role):
    peer = Peer(scene.daemon, role)
    peer.greet(role, minor=99, claims=[claim(0x700)])
    peer.close()
    scene.goes_on()


@pytest.mark.parametrize("name, pattern", [
    ("", "empty"), ("x" * 65, "65 bytes"), ("a\nb", "0x0a"), ("\x7f", "0x7f"), ("\u00e9", "0xc3"),
    ("a\0b", "UTF-8|0x00|NUL")], ids=["empty", "long", "newline", "delete", "accent", "nul"])
def test_client_names(scene, name, pattern):
    for role in ROLES:
        peer = Peer(scene.daemon, role)
        peer.send_message(hello(role, name=name, claims=[claim(0x700)]))
        scene.refused(peer, INVALID, pattern)
    assert "\n\n" not in scene.daemon.stderr


@pytest.mark.parametrize("what", OUT_OF_RANGE)
def test_claims_out_of_range(scene, what):
    claims, pattern = OUT_OF_RANGE[what]
    peer = Peer(scene.daemon, "device")
    peer.send_message(hello("device", claims=claims))
    scene.refused(peer, INVALID, pattern)
    assert [c.client for c in scene.control.clients().claims] == ["good"]


@pytest.mark.parametrize("vcpus, pattern", [([2], "vCPU 2.*has 2"), ([0, 63], "vCPU 63"),
                                            ([64], "64"), ([2**32 - 1], "4294967295")],
                         ids=str)
def test_vcpus_that_do_not_exist(scene, vcpus, pattern):
    peer = Peer(scene.daemon, "device")
    peer.send_message(hello("device", claims=[claim(0x700)], vcpus=vcpus))
    scene.refused(peer, INVALID, pattern)


def test_claims_of_another_client(scene):
    """All or none; the owner is named; its own vCPU's part may be had."""
    for first, last in ((PORT, PORT), (PORT - 8, PORT), (PORT, 0xFFFF), (0, 0xFFFF)):
        peer = Peer(scene.daemon, "device")
        peer.send_message(hello("device", claims=[claim(7, 7, MMIO), claim(first, last)]))
        scene.refused(peer, OVERLAP, rf'pio {first:#x}-{last:#x} .*"good" by client \d+ "good"')
    assert [c.client for c in scene.control.clients().claims] == ["good"]
    first = scene.rude(vcpus=[1])
    peer = Peer(scene.daemon, "device")
    peer.send_message(hello("device", claims=first_claims(), vcpus=[0]))
    assert peer.welcome().status == OK, "another vCPU's accesses are no overlap"
    last = Peer(scene.daemon, "device")
    last.send_message(hello("device", claims=first_claims()))
    scene.refused(last, OVERLAP, '"rude"')
    peer.close()
    first.close()
    scene.goes_on()


def first_claims():
    return [claim(PORT + 16, name="rude")]


def test_too_many_claims_of_all_clients(scene):
    """65536 in all: the fifth client with the most that one may have is refused."""
    peers = []
    for number in range(5):
        start = number * schema.MAX_CLAIMS
        peer = Peer(scene.daemon, "device")
        peer.send_message(hello("device", name=f"many-{number}", claims=[
            claim(start + n, start + n, MMIO) for n in range(schema.MAX_CLAIMS - (number == 0))]))
        peers.append(peer)
        if number < 4:
            assert peer.welcome().status == OK
    scene.refused(peers[4], LIMIT, "claims")
    for peer in peers:
        peer.close()
    eventually("absent owners", lambda: scene.daemon.stderr.count("has gone") == 4)
    successor = Peer(scene.daemon, "device")
    successor.greet("device", claims=[claim(0, 2**32, MMIO)])
    assert len(scene.control.clients().claims) == 2, "the absent ones did not give way"
    successor.close()
    scene.goes_on()


def test_bytes_behind_a_device_hello(scene):
    peer = Peer(scene.daemon, "device")
    peer.send(2 * frame(GOOD["device"].SerializeToString()))
    scene.refused(peer, INVALID, "follow the Hello")


def test_no_hello_in_time(scene):
    """Ten seconds; the connections of all three roles are made at once."""
    peers = {role: Peer(scene.daemon, role) for role in ROLES}
    scene.goes_on()
    for peer in peers.values():
        reply = peer.welcome()
        assert reply.status == INVALID and "10 seconds" in reply.message
        assert peer.receive_some() == b""
        peer.close()
    scene.said("10 seconds", 3)
    scene.goes_on()
