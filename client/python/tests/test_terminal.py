# SPDX-License-Identifier: MIT
"""The program with a terminal of its own: raw while it runs, restored on every way out."""

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import threading
import time

import exits
import pytest
from kvmcpud.v1 import control_pb2 as c

DEADLINE_S = 10
ECHO_AND_MORE = termios.ECHO | termios.ICANON | termios.ISIG


class Session:
    """The program in a session whose terminal this process holds the other end of."""

    def __init__(self, daemon):
        self.end, terminal = pty.openpty()
        self.before = termios.tcgetattr(terminal)
        self._terminal = terminal
        self.process = subprocess.Popen(
            [sys.executable, "-m", "kvmcpu.devices", "--runtime-dir", str(daemon.runtime_dir),
             "--serial", "-", "--debugcon", "none"],
            stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True,
            env=dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)),
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        self.shown = b""

    def mode(self):
        return termios.tcgetattr(self._terminal)

    @property
    def raw(self):
        return not self.mode()[3] & ECHO_AND_MORE

    def type(self, keys):
        os.write(self.end, keys)

    def wait_shown(self, text):
        end = time.monotonic() + DEADLINE_S
        while text not in self.shown:
            assert select.select([self.end], [], [], max(0, end - time.monotonic()))[0], self.shown
            self.shown += os.read(self.end, 4096)

    def wait(self):
        return self.process.wait(DEADLINE_S)

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.end)
        os.close(self._terminal)


@pytest.fixture
def session(daemon):
    """Starts a Session whose daemon runs script(peer), then holds until the client goes."""
    made = []

    def start(script=lambda peer: None, hold=True):
        def whole(peer):
            script(peer)
            if hold:
                assert peer.at_end()

        daemon("device", whole)
        made.append(Session(daemon))
        made[-1].wait_shown(b"ready")
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_restored_after_a_signal_which_the_status_tells(session, number):
    here = session()
    assert here.raw
    here.process.send_signal(number)
    assert here.wait() == -number
    assert here.mode() == here.before


def test_restored_when_the_vm_ends(session):
    go = threading.Event()
    here = session(lambda peer: go.wait(DEADLINE_S) and peer.stopped(), hold=False)
    assert here.raw
    go.set()
    assert here.wait() == 0
    assert here.mode() == here.before


def test_restored_when_the_protocol_breaks(session):
    go = threading.Event()
    here = session(lambda peer: go.wait(DEADLINE_S) and peer.raw(b"\xff" * 10), hold=False)
    go.set()
    assert here.wait() == 76
    assert here.mode() == here.before


def test_restored_while_it_is_stopped(session):
    here = session()
    here.process.send_signal(signal.SIGTSTP)
    os.waitid(os.P_PID, here.process.pid, os.WSTOPPED)
    assert here.mode() == here.before
    here.process.send_signal(signal.SIGCONT)
    end = time.monotonic() + DEADLINE_S
    while not here.raw:
        assert time.monotonic() < end


def test_detach(session):
    here = session()
    here.type(b"\x01d")
    assert here.wait() == 0
    assert here.mode() == here.before


def test_stop_the_vm(session, daemon):
    calls = []

    def control(peer):
        request = peer.receive(c.Request)
        calls.append(request.stop)
        peer.send(c.Response(id=request.id, done=c.Done()))

    daemon("control", control)
    here = session()
    here.type(b"\x01x")
    assert here.wait() == 0
    assert (calls[0].code, bool(calls[0].reason)) == (0, True)


def poll_guest(peer, wanted):
    """A guest that reads its serial port until it has wanted bytes."""
    got = b""
    seq = 1
    while len(got) < wanted:
        seq += 2
        if peer.ask(exits.pio_in(0x3FD, seq=seq)).data[0] & 1:
            got += peer.ask(exits.pio_in(0x3F8, seq=seq + 1)).data
    return got


def test_keys_reach_the_guest_and_its_output_the_screen(session):
    got = []

    def script(peer):
        got.append(poll_guest(peer, 7))
        peer.ask(exits.pio_out(0x3F8, b"seen!", seq=1 << 40))

    here = session(script)
    here.type(b"a\x03\r\x01\x01b\x01zc\x04")
    here.wait_shown(b"seen!")
    here.type(b"\x01d")  # so that it answers before it ends
    assert here.wait() == 0
    assert got == [b"a\x03\r\x01bc\x04"]


def test_help(session):
    here = session()
    here.type(b"\x01?")
    here.wait_shown(b"Ctrl-A x")
    here.type(b"\x01d")
    assert here.wait() == 0


def test_the_keys_work_when_the_guest_takes_none(session):
    here = session()
    for _ in range(20):
        here.type(b"x" * 50)
    here.type(b"\x01d")
    assert here.wait() == 0
