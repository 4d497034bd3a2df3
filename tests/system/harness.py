# SPDX-License-Identifier: MIT
"""What every whole-program test needs: the build's programs, a daemon of its own,
devices beside it, and waits that end.

A Daemon has a temporary runtime directory with a short path (a socket's path
has room for 108 bytes). Readiness comes by sd_notify where the daemon was built
with it, so nothing here sleeps to be on the safe side; every wait has a
deadline and fails with what it waited for.
"""

import contextlib
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("KVMCPUD_BUILD") or ROOT / "build")
KVMCPUD = BUILD / "kvmcpud"
KVMCPUCTL = BUILD / "kvmcpuctl"
KVMCPU_PC = BUILD / "kvmcpu-pc"

# How many times more slowly than on hardware things go here. tools/lab sets it, whose
# machine is emulated.
SLOWNESS = float(os.environ.get("KVMCPUD_SLOWNESS") or 1)
DEADLINE = 20.0 * SLOWNESS  # seconds; far beyond what any wait here needs
LONG = 3 * DEADLINE  # for what takes thousands of exits
PROMPT = DEADLINE / 4  # for what must not hang on anything else's time-out

# Exit statuses of kvmcpud (daemon/status.h).
USAGE, IMAGE, NO_KVM, RUNTIME, BUSY, GUEST = 64, 66, 69, 73, 75, 79


def python_path():
    """What a child process needs as PYTHONPATH to find the client and the schema."""
    return os.pathsep.join(path for path in sys.path if path)


def environment(**more):
    return dict(os.environ, PYTHONPATH=python_path(), PYTHONUNBUFFERED="1", **more)


def load(count, least=1):
    """How often to do what is done count times where nothing is slow; least is what the
    test needs to show anything."""
    return max(least, int(count / SLOWNESS))


def eventually(what, predicate, timeout=DEADLINE):
    """Asks until predicate() is true and returns what it returned.

    For what offers nothing to wait on. Asks often at first, then every 10 ms.
    """
    deadline, pause = time.monotonic() + timeout, 0.0005
    while True:
        result = predicate()
        if result:
            return result
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(pause)
        pause = min(2 * pause, 0.01)


def built_with(define):
    """Whether the build's config.h says so."""
    return f"#define {define} 1" in (BUILD / "config.h").read_text()


def wait_readable(descriptors, timeout):
    """Those of descriptors that are readable, none after timeout seconds."""
    return select.select(descriptors, [], [], timeout)[0]


class Process:
    """A program with its output in files, ended at the latest by close()."""

    def __init__(self, command, directory, label, pass_fds=(), stdin=subprocess.DEVNULL, **more):
        self.label = label
        self._out = open(os.path.join(directory, f"{label}.out"), "w+b")
        self._err = open(os.path.join(directory, f"{label}.err"), "w+b")
        self.process = subprocess.Popen(
            [str(word) for word in command], stdin=stdin, stdout=self._out, stderr=self._err,
            pass_fds=pass_fds, env=environment(**more))
        self.pidfd = os.pidfd_open(self.process.pid)

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process.poll() is None

    @staticmethod
    def _text(file):
        return pathlib.Path(file.name).read_bytes()

    @property
    def stdout(self):
        """What it has written so far, bytes."""
        return self._text(self._out)

    @property
    def stderr(self):
        """What it has said so far, str."""
        return self._text(self._err).decode(errors="replace")

    def signal(self, number):
        signal.pidfd_send_signal(self.pidfd, number)

    def wait(self, timeout=DEADLINE):
        """Its exit status (negative: the signal that felled it), once it has ended."""
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.label} did not end within {timeout} s:\n{self.stderr}") from None

    def kill(self):
        """SIGKILL, and the end of it."""
        if self.running:
            self.process.kill()
        return self.process.wait(DEADLINE)

    def close(self):
        self.kill()
        self._out.close()
        self._err.close()
        os.close(self.pidfd)


class Daemon(Process):
    """A running kvmcpud.

    options are its command line's words behind --name and --runtime-dir. Without a --clock
    among them, executing takes no simulated time, so that ticks are exact. It is
    ready when this returns, unless wait=False. runtime_dir: one that exists, to
    start a second daemon beside another; it is left alone then.
    """

    def __init__(self, *options, name="t", runtime_dir=None, wait=True, program=KVMCPUD):
        self.name = name
        self._own = None if runtime_dir else tempfile.mkdtemp(prefix="kv-", dir="/tmp")
        self._files = tempfile.mkdtemp(prefix="kvf-", dir="/tmp")
        self.runtime_dir = str(runtime_dir or self._own)
        self.directory = os.path.join(self.runtime_dir, name)
        self._open = contextlib.ExitStack()
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._notify.bind(os.path.join(self._files, "notify"))
        self._killed = False
        clock = [] if "--clock" in options else ["--clock", "none"]
        super().__init__(
            [program, "--name", name, "--runtime-dir", self.runtime_dir, *clock, *options],
            self._files,
            "kvmcpud", NOTIFY_SOCKET=self._notify.getsockname())
        if wait:
            try:
                self.wait_ready()
            except BaseException:
                self.close()
                raise

    def wait_ready(self, timeout=DEADLINE):
        """Returns when the sockets are there and the vCPUs started."""
        if built_with("HAVE_SYSTEMD"):
            came = wait_readable([self._notify, self.pidfd], timeout)
            if self._notify in came and b"READY=1" in self._notify.recv(4096):
                return
        else:
            eventually("a daemon that listens", lambda: self._listens() or not self.running,
                       timeout)
            if self.running:
                return
        raise AssertionError(f"kvmcpud does not get ready (status {self.process.poll()}):\n"
                             f"{self.stderr}")

    def _listens(self):
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(self.path("control")) == 0

    def path(self, role):
        """The path of a socket: device, monitor or control."""
        return os.path.join(self.directory, f"{role}.sock")

    @property
    def where(self):
        """Keyword arguments by which kvmcpu's classes find this VM."""
        return {"vm": self.name, "runtime_dir": self.runtime_dir}

    @property
    def words(self):
        """Command-line words by which the programs find this VM."""
        return ["--vm", self.name, "--runtime-dir", self.runtime_dir]

    def control(self, timeout=DEADLINE, **options):
        """A kvmcpu.Control, closed with the daemon at the latest."""
        import kvmcpu
        client = kvmcpu.Control(**self.where, timeout=timeout, **options)
        wait_until = client.wait_until
        client.wait_until = lambda predicate, timeout=DEADLINE: wait_until(predicate, timeout)
        return self._open.enter_context(client)

    def monitor(self, timeout=DEADLINE, **options):
        """A kvmcpu.Monitor, closed with the daemon at the latest."""
        import kvmcpu
        return self._open.enter_context(kvmcpu.Monitor(**self.where, timeout=timeout, **options))

    def serve(self, *devices, **options):
        """Devices served by a thread of this process; see Serving."""
        return self._open.enter_context(Serving(self, devices, **options))

    def spawn(self, command, label="child", **more):
        """Any program beside the daemon, ended with it at the latest."""
        return self._open.enter_context(
            contextlib.closing(Process(command, self._files, label, **more)))

    def spawn_device(self, script, *arguments, label="device", timeout=DEADLINE, stdin=None):
        """A device in a Python process of its own, when it says that it serves.

        script is a path, or "-m MODULE" in a list. It gets --vm, --runtime-dir and
        --ready-fd N and writes a newline to N. Returns the Process: pid, kill(),
        signal(), wait(), stdout, stderr.
        """
        words = [script] if isinstance(script, (str, os.PathLike)) else script
        return self.spawn_ready([sys.executable, *words, *self.words, *arguments], label, timeout,
                                stdin)

    def spawn_ready(self, command, label, timeout=DEADLINE, stdin=None):
        """Any program that takes --ready-fd, once it is ready."""
        ready, tell = os.pipe()
        try:
            child = self.spawn([*command, "--ready-fd", tell], label, pass_fds=[tell],
                               stdin=subprocess.DEVNULL if stdin is None else stdin)
        finally:
            os.close(tell)
        try:
            came = wait_readable([ready], timeout)
            assert came and os.read(ready, 1), f"{label} does not get ready:\n{child.stderr}"
        finally:
            os.close(ready)
        return child

    def stop(self, number=signal.SIGTERM, expect=0, timeout=DEADLINE):
        """Ends it by a signal and checks its status and that it tidied up."""
        if self.running:
            self.signal(number)
        return self.ended(expect, timeout)

    def ended(self, expect=0, timeout=DEADLINE):
        """Waits for an end that something else brings about; checks as stop() does."""
        status = self.wait(timeout)
        assert status == expect, f"exit status {status}, not {expect}:\n{self.stderr}"
        self.check_tidy()
        return status

    def check_tidy(self):
        """Neither sockets nor lock nor directory are left."""
        left = os.listdir(self.directory) if os.path.isdir(self.directory) else []
        assert not left, f"kvmcpud left {left} behind"
        assert not os.path.exists(self.directory), "kvmcpud left its directory behind"

    def kill(self):
        if self.running:
            self._killed = True
        return super().kill()

    def close(self):
        """The end of everything here, whatever happened; checks nothing."""
        self._open.close()
        super().close()
        self._notify.close()
        shutil.rmtree(self._files, ignore_errors=True)
        if self._own:
            shutil.rmtree(self._own, ignore_errors=True)

    def finish(self):
        """What a test's end does: a daemon that still runs must end well on SIGTERM."""
        try:
            if self.running:
                self.signal(signal.SIGTERM)
                status = self.wait()
                assert status in (0, GUEST), f"exit status {status}:\n{self.stderr}"
            if not self._killed and self.process.returncode not in (BUSY,):
                assert self.process.returncode >= 0, f"felled by a signal:\n{self.stderr}"
                self.check_tidy()
        finally:
            self.close()


class Serving:
    """A kvmcpu.Server in a thread, until the VM ends or close().

    server is the Server, devices what it serves. join() waits for the VM's end
    and returns its Notice; what went wrong in the thread comes out there.
    """

    def __init__(self, daemon, devices, **options):
        import kvmcpu
        self.devices = list(devices)
        self.server = kvmcpu.Server(self.devices, **daemon.where, **options)
        self._closed = False
        self._error = None
        self._notice = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self):
        try:
            self._notice = self.server.serve_forever()
        except BaseException as error:  # handed over to whoever joins
            self._error = error

    def join(self, timeout=DEADLINE):
        self._thread.join(timeout)
        assert not self._thread.is_alive(), "the device's thread goes on"
        if self._error and not self._closed:
            raise self._error
        return self._notice

    def close(self):
        """Ends the channel as a client does that goes away."""
        self._closed = True
        if self._thread.is_alive():
            with contextlib.suppress(OSError):
                socket.socket(fileno=os.dup(self.server.fileno())).shutdown(socket.SHUT_RDWR)
        self._thread.join(DEADLINE)
        self.server.close()
