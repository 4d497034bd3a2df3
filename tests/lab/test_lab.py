# SPDX-License-Identifier: MIT
"""tools/lab as its user sees it: output, status, ends; and that nothing is left.

Each boot takes some seconds, so what one boot can show is asserted together.
"""

import os
import pathlib
import pty
import select
import signal
import subprocess
import time

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
LAB = TOP / "tools" / "lab"
SHARE = TOP / "build" / "lab"
DEADLINE = 240


def lab(*words, **environment):
    return subprocess.run([LAB, *map(str, words)], capture_output=True, timeout=DEADLINE,
                          env=dict(os.environ, **environment))


def children_of(pid):
    """The pids of a process's children, from /proc."""
    return [int(word) for word in
            pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def over(pids):
    """Whether none of them runs (one that nobody collects is over as well)."""
    def state(pid):
        try:
            return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return "X"
    return all(state(pid) in "XZ" for pid in pids)


@pytest.fixture
def running():
    """Starts the lab with a command that says that it runs and then does not end."""
    process = subprocess.Popen([LAB, "sh", "-c", "echo here; exec sleep 1000"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"here\n", process.stderr.read()
    yield process
    process.kill()
    process.communicate()


def test_output_and_status():
    """1 MiB on either output is exact, the status is the command's, its signal's, or 127."""
    script = ("import os, sys; block = bytes(range(256)) * 4096\n"
              "sys.stdout.buffer.write(block); sys.stderr.buffer.write(block[::-1])\n"
              "sys.exit(7)")
    done = lab("python3", "-c", script)
    block = bytes(range(256)) * 4096
    assert (done.returncode, done.stdout == block, done.stderr == block[::-1]) == (7, True, True)


def test_files(tmp_path):
    """The tree is there and can be written, but only build/lab comes through; the rest too."""
    mark = os.urandom(8).hex()
    witness = TOP / "tests" / "lab" / "test_lab.py"
    before = witness.read_bytes()
    script = ("set -e; test $KVMCPUD_LAB = 1; test -c /dev/kvm; cmp README.md \"$1\"/README.md\n"
              "echo \"$2\" >build/lab/mark; echo \"$2\" >>\"$3\"; tail -n 1 \"$3\"\n"
              "test $(ls /sys/class/net) = lo; cat /sys/class/net/lo/carrier\n"
              "mkdir /again; mount -t virtiofs root /again; ! touch /again/tmp/mark; kill -9 $$")
    try:
        done = subprocess.run([LAB, "sh", "-c", script, "sh", TOP, mark, witness], cwd=TOP,
                              capture_output=True, timeout=DEADLINE, text=True)
        assert done.returncode == 128 + signal.SIGKILL, done.stderr
        assert done.stdout == f"{mark}\n1\n"
        assert "Read-only" in done.stderr
        assert (SHARE / "mark").read_text() == f"{mark}\n"
        assert witness.read_bytes() == before
    finally:
        (SHARE / "mark").unlink(missing_ok=True)


def test_no_such_command():
    done = lab("no-such-command")
    assert done.returncode == 127
    assert b"no-such-command: No such file" in done.stderr


def test_does_not_boot():
    done = lab("true", KVMCPUD_LAB_CPU="no-such-cpu")
    assert done.returncode == 71
    assert b"no-such-cpu" in done.stderr


@pytest.mark.parametrize("words", (["--cpus", "0", "true"], ["--memory", "much", "true"],
                                   ["--timeout", "-1", "true"], ["--shell", "true"], []))
def test_usage(words):
    done = lab(*words)
    assert (done.returncode, done.stdout) == (64, b"")
    assert b"tools/lab: error: " in done.stderr


def test_timeout():
    """It ends although the command goes on writing and nobody reads."""
    began = time.monotonic()
    done = lab("--timeout", 8, "yes")
    assert done.returncode == 124
    assert time.monotonic() - began < 30
    assert b"8 s" in done.stderr


@pytest.mark.parametrize("number, status", ((signal.SIGINT, 130), (signal.SIGKILL, -9)))
def test_signal(running, number, status):
    """However it ends, its QEMU and virtiofsd end with it."""
    helpers = children_of(running.pid)
    assert len(helpers) == 3
    running.send_signal(number)
    assert running.wait(DEADLINE) == status
    deadline = time.monotonic() + 10
    while not over(helpers):
        assert time.monotonic() < deadline, "something goes on"
        time.sleep(0.01)


def read_until(fd, text, received=b""):
    while text not in received:
        assert select.select([fd], [], [], DEADLINE)[0], f"{text!r} does not come: {received!r}"
        received += os.read(fd, 4096)
    return received


def test_shell():
    """A terminal with a size; raw meanwhile, and afterwards as before."""
    import fcntl
    import struct
    import termios
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
    before = termios.tcgetattr(theirs)
    shell = subprocess.Popen([LAB, "--shell"], stdin=theirs, stdout=theirs, stderr=theirs,
                             env=dict(os.environ, SHELL="/bin/sh", PS1="ready> "))
    try:
        read_until(ours, b"# ")
        os.write(ours, b"stty size; tty; exit 5\r")
        read_until(ours, b"33 99\r\n/dev/pts/0")
        assert shell.wait(DEADLINE) == 5
        assert termios.tcgetattr(theirs) == before
    finally:
        shell.kill()
        os.close(ours)
        os.close(theirs)
