# SPDX-License-Identifier: MIT
"""Bad clients in numbers: what one of them costs is given back, so a thousand cost no
more than one; nobody, and no descriptor that somebody sends along, stays behind.
"""

import array
import contextlib
import os
import resource
import select
import socket

import pytest
from harness import PROMPT, eventually, load
from raw import INVALID, LIMIT, Peer, claim, hello
from scene import Scene

from kvmcpu import schema
from kvmcpu.framing import frame

ROLES = ("device", "monitor", "control")
MAX_CLIENTS = 1024  # daemon/loop.h


@pytest.fixture
def scene(start, guest):
    return Scene(start, guest)


def descriptors(scene):
    """What the daemon has open; what is closed while this looks is left out."""
    found = []
    for entry in list(os.scandir(f"/proc/{scene.daemon.pid}/fd")):
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(entry.path))
    return sorted(found)


def resident_kib(scene):
    with open(f"/proc/{scene.daemon.pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def only_the_first_two(scene):
    eventually("all others gone", lambda: len(scene.control.clients().clients) == 2)


def test_connect_and_go(scene):
    """200 times on each socket, some at once, without a word."""
    before = len(descriptors(scene))
    for _ in range(20):
        peers = [Peer(scene.daemon, role) for role in ROLES for _ in range(10)]
        for peer in peers:
            peer.close()
    eventually("descriptors given back", lambda: len(descriptors(scene)) == before)
    scene.goes_on()


def send_with(peer, data, passed):
    peer.socket.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                  array.array("i", [passed.fileno()] * 8))])


def test_descriptors_nobody_asked_for(scene):
    """With Hello, with requests, with filters and with replies: none of them stays open
    in the daemon, as the end of the pipe they belong to shows."""
    before = descriptors(scene)
    there, here = os.pipe()
    with open(here, "wb", buffering=0) as passed:
        for role in ROLES:
            peer = Peer(scene.daemon, role)
            send_with(peer, b"\xff" * 8, passed)
            scene.refused(peer, INVALID, "no frame")
            peer = Peer(scene.daemon, role)
            message = hello(role, claims=[claim(0x700)])
            send_with(peer, frame(message.SerializeToString()), passed)
            assert peer.welcome().status == schema.hello.HELLO_STATUS_OK
            if role != "device":
                send_with(peer, frame(b""), passed)
            peer.close()
        exit = scene.good.exit()
        send_with(scene.good, frame(scene.ledger.answer(exit).SerializeToString()), passed)
        assert scene.good.readable()
        scene.goes_on()
    assert select.select([there], [], [], PROMPT)[0], "the daemon holds a stranger's descriptor"
    assert os.read(there, 1) == b""
    os.close(there)
    only_the_first_two(scene)
    assert descriptors(scene) == before


def test_memory_does_not_grow(scene):
    """2,000 bad connections of several sorts (fewer where all is slow), behind some to
    warm up with."""
    with open(f"/proc/{scene.daemon.pid}/maps", encoding="ascii") as file:
        if "san.so" in file.read():
            pytest.skip("built with sanitizers, which keep freed memory to watch it")
    half = frame(hello("device", claims=[claim(n, n) for n in range(0x600, 0x700)])
                 .SerializeToString())
    sorts = [b"\xff" * 64, frame(bytes(60000)), half[:-1], frame(b"\x08\x01"), b"",
             frame(hello("device", claims=[claim(0x510)]).SerializeToString())]

    def run(count):
        """Each says its piece and goes; those who said nothing, or what was right, cause
        no warning."""
        quiet = 0
        for number in range(count):
            role, data = ROLES[number // len(sorts) % 3], sorts[number % len(sorts)]
            quiet += data == b"" or (role == "device" and data == sorts[-1])
            peer = Peer(scene.daemon, role)
            peer.send(data)
            peer.close()
        scene.said(".", count - quiet)
        only_the_first_two(scene)
        return resident_kib(scene)

    first = run(load(500))
    last = run(load(2000))
    assert last - first < 512, f"{first} KiB became {last}"
    scene.goes_on()
    assert len(scene.control.clients().claims) <= 2


def test_eleven_hundred_clients(scene):
    """Those too many are refused with a reason; with the first to go there is room again."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 4096:
        pytest.skip("this process may not open 4096 files")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, limits[1]))
    resource.prlimit(scene.daemon.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    before = len(descriptors(scene))
    peers = []
    try:
        peers += [Peer(scene.daemon, ROLES[n % 3]) for n in range(1100)]
        refused = 1100 - (MAX_CLIENTS - 2)
        scene.said("clients", refused)
        last = peers[-1].welcome()
        assert last is not None, "refused without a word"
        assert last.status == LIMIT and "1024 clients" in last.message
        assert peers[-1].receive_some() == b""
        peers[0].greet("device", claims=[claim(0x700)])
        scene.goes_on()
    finally:
        for peer in peers:
            peer.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    only_the_first_two(scene)
    # A vCPU keeps what it has looked at, connections among it, until it looks again.
    scene.goes_on()
    scene.rude().close()
    eventually("descriptors given back", lambda: len(descriptors(scene)) == before)
    scene.goes_on()


def test_no_descriptors_left(scene):
    """When it can accept no more, those who are there are served; later all are."""
    used = len(descriptors(scene))
    resource.prlimit(scene.daemon.pid, resource.RLIMIT_NOFILE, (used + 8, 4096))
    peers = [Peer(scene.daemon, "control") for _ in range(20)]
    eventually("a warning", lambda: len(scene.warnings()) > scene.expected)
    assert "cannot accept" in scene.warnings()[-1]
    scene.good.serve(scene.ledger, 3)
    assert scene.good.readable()
    for peer in peers:
        peer.send_message(hello("control"))
    resource.prlimit(scene.daemon.pid, resource.RLIMIT_NOFILE, (4096, 4096))
    for peer in peers:
        assert peer.welcome().status == schema.hello.HELLO_STATUS_OK
        peer.close()
    # It rests between two tries, so it does not fill the log.
    assert len(scene.warnings()) < 30
    scene.expected = len(scene.warnings())
    scene.goes_on()


def test_gone_with_its_welcome_unread(scene):
    """A device that closes before it reads the HelloReply: the kernel makes that an error
    of the daemon's end, not only an end."""
    peer = Peer(scene.daemon, "device")
    peer.send(frame(hello("device", claims=[claim(0x700)]).SerializeToString()))
    assert peer.readable()
    peer.close()
    only_the_first_two(scene)
    scene.goes_on()
