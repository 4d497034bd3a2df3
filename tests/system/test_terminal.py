# SPDX-License-Identifier: MIT
"""kvmcpu-pc --serial - on a user's terminal: the keys meant for it, and the terminal
as it was on every way out.
"""

import fcntl
import os
import select
import signal
import subprocess
import termios

import pc
import pytest
from devices import counts
from harness import DEADLINE, KVMCPU_PC, environment, eventually

PREFIX = b"\x01"


class Terminal:
    """kvmcpu-pc as the foreground process of a terminal of its own."""

    def __init__(self, daemon):
        self.fd, self.slave = os.openpty()  # with the slave open, its settings stay to be seen
        self.before = termios.tcgetattr(self.slave)
        self.screen = bytearray()
        ready, tell = os.pipe()
        self.process = subprocess.Popen(
            [str(KVMCPU_PC), *daemon.words, "--debugcon", "none", "--serial", "-", "--ready-fd",
             str(tell)], stdin=self.slave, stdout=self.slave, stderr=self.slave, pass_fds=[tell],
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=environment())
        os.close(tell)
        came = select.select([ready], [], [], DEADLINE)[0]
        assert came and os.read(ready, 1), "kvmcpu-pc does not get ready"
        os.close(ready)

    @property
    def raw(self):
        return not termios.tcgetattr(self.slave)[3] & termios.ICANON

    def type(self, data):
        os.write(self.fd, data)

    def shows(self, text):
        def look():
            while select.select([self.fd], [], [], 0)[0]:
                self.screen += os.read(self.fd, 4096)
            return text in self.screen
        eventually(f"{text} on the terminal", look)

    def wait(self):
        """Its exit status (negative: a signal's number)."""
        return self.process.wait(DEADLINE)

    def close(self):
        self.process.kill()
        self.process.wait(DEADLINE)
        os.close(self.slave)
        os.close(self.fd)


@pytest.fixture
def terminal(start, guest):
    """A guest that receives, or sends; daemon, control, Terminal."""
    opened = []

    def begin(kind=1, count=0):
        daemon = start(*guest("serial", KIND=kind, COUNT=count), "--irqchip", "kernel", "--paused")
        control = daemon.control()
        opened.append(Terminal(daemon))
        assert opened[-1].raw
        control.resume()
        pc.begun(control)
        return daemon, control, opened[-1]

    yield begin
    for each in opened:
        each.close()


def received(control, text):
    eventually(f"the guest has {text}", lambda: counts(control)[0] >= len(text))
    assert control.read_memory(pc.INPUT, len(text)) == text


def as_it_was(term):
    return termios.tcgetattr(term.slave) == term.before


def test_keys_go_to_the_guest_as_they_are(terminal):
    _, control, term = terminal()
    text = b"a\r\n\x03\x04\x11\x13\x1a\x1c\x7f\xff"
    term.type(text)
    received(control, text)


def test_output_comes_out(terminal):
    _, _, term = terminal(2, 20)
    term.shows(pc.pattern(10))


def test_prefix_twice_is_one_and_help_is_shown(terminal):
    _, control, term = terminal()
    term.type(b"x" + PREFIX + PREFIX + b"y" + PREFIX + b"?" + b"z" + PREFIX + b"qd")
    received(control, b"x\x01yzd")
    term.shows(b"detach")


def test_stop(terminal):
    daemon, _, term = terminal()
    term.type(PREFIX + b"x")
    daemon.ended(0)
    assert "stopped from the console" in daemon.stderr
    assert term.wait() == 0
    assert as_it_was(term)


def test_stop_while_the_guest_takes_no_input(terminal):
    """Its receiver is full and more was typed; the keys for us are seen all the same."""
    daemon, control, term = terminal(2, 20)
    term.type(b"nobody reads this " * 20 + PREFIX + b"x")
    daemon.ended(0)
    assert term.wait() == 0
    assert as_it_was(term)


def test_detach_and_attach_again(terminal):
    daemon, control, term = terminal()
    term.type(PREFIX + b"d")
    assert term.wait() == 0
    assert as_it_was(term)
    assert daemon.running
    pc.spawn(daemon, "--serial", "pty")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_and_restores_the_terminal(terminal, number):
    _, _, term = terminal()
    term.process.send_signal(number)
    assert term.wait() == -number
    assert as_it_was(term)


def test_stopped_and_continued(terminal):
    _, control, term = terminal()
    os.kill(term.process.pid, signal.SIGTSTP)
    assert os.WIFSTOPPED(os.waitpid(term.process.pid, os.WUNTRACED)[1])
    assert as_it_was(term)
    os.kill(term.process.pid, signal.SIGCONT)
    eventually("raw again", lambda: term.raw)
    term.type(b"on")
    received(control, b"on")


def test_the_daemon_is_killed(terminal):
    daemon, _, term = terminal()
    daemon.kill()
    assert term.wait() == 0
    assert as_it_was(term)
