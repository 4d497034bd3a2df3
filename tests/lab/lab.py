# SPDX-License-Identifier: MIT
"""The command line of tools/lab, and what it does while the machine runs: passing
on frames between it (init.c) and this process's own output or terminal.
"""

import argparse
import collections
import contextlib
import fcntl
import os
import pathlib
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
import tty

import machine
import package

TOP = pathlib.Path(__file__).resolve().parents[2]
SHARE = TOP / "build" / "lab"
SILENCE = 90  # seconds; 5 are usual, for booting as for a sign of life
SLOWNESS = "10"  # how the tests are to take it; Python is some 18 times slower than here
QUIT_KEY = 0x1d  # Ctrl-], as telnet's
USAGE, MISSING, DIED, TIMEOUT = 64, 69, 71, 124
OUTPUT, ERROR, STATUS, INPUT, WINDOW = range(2, 7)  # init.c's kinds of frame; 1 says nothing
PASSED_ON = re.compile(r"PATH|HOME|TERM|LANG|LC_.*|PYTHONPATH|KVMCPUD_.*|CI")

EPILOG = f"""\
The machine is emulated (AMD-V included), so nothing here needs /dev/kvm; it has one of
its own. COMMAND sees this host's files, the current directory among them. What it
writes is lost with the machine, except below build/lab/ of the source tree, which
KVMCPUD_LAB_DIR names; KVMCPUD_LAB=1 tells that this is the lab. Of the environment
PATH, HOME, TERM, LANG, LC_*, PYTHONPATH, KVMCPUD_* and CI are passed on. Standard input
is /dev/null. The machine is over when COMMAND ends, or with --shell by Ctrl-].

Debian's cloud kernel is fetched on first use into $XDG_CACHE_HOME/kvmcpud/lab (as a
rule ~/.cache/kvmcpud/lab); remove that directory to have a newer one.

Exit status: COMMAND's, 128 + N if signal N felled it, 127 if it is not found, else
{USAGE} usage, {MISSING} something is missing, {DIED} the machine did not boot or died,
{TIMEOUT} out of time, 130 interrupted (143 by SIGTERM, 129 by SIGHUP)."""


class End(Exception):
    """The lab's end by something other than COMMAND, with the exit status."""

    def __init__(self, status, text=""):
        super().__init__(text)
        self.status = status


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="tools/lab", description="Runs COMMAND in an emulated machine with AMD-V, and with "
        "this host's files.", epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="tools/lab [OPTIONS] COMMAND [ARGUMENT ...]\n"
        "       tools/lab [OPTIONS] --shell [COMMAND ...]")
    parser.add_argument("command", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument("--shell", action="store_true",
                        help="on this terminal; COMMAND, or else $SHELL")
    parser.add_argument("--timeout", type=float, metavar="SECONDS",
                        help="end it then, booting included")
    parser.add_argument("--memory", default="4G", metavar="SIZE", help="the machine's, which also "
                        "holds what COMMAND writes (default: 4G)")
    parser.add_argument("--cpus", type=int, default=2, metavar="N", help="1 to 64 (default: 2)")
    try:
        options = parser.parse_args(argv)
        if not re.fullmatch(r"[1-9][0-9]*[MG]", options.memory):
            parser.error(f"--memory {options.memory}: give a number and M or G, such as 4G")
        if not 1 <= options.cpus <= 64:
            parser.error(f"--cpus {options.cpus}: give 1 to 64")
        if options.timeout is not None and not 0 < options.timeout < 1e7:
            parser.error(f"--timeout {options.timeout}: give a number of seconds above 0")
        if options.shell and not (sys.stdin.isatty() and sys.stdout.isatty()):
            parser.error("--shell needs a terminal as standard input and output")
        if not options.shell and not options.command:
            parser.error("give a COMMAND, or --shell")
        return options
    except SystemExit as end:
        raise SystemExit(USAGE if end.code else 0) from None


def have_programs():
    return (all(map(shutil.which, (machine.QEMU, "gcc", "dpkg-deb", "unshare")))
            and machine.virtiofsd())


def prepare():
    """Installs the packages that are missing, as the other tools do."""
    SHARE.mkdir(parents=True, exist_ok=True)
    if have_programs():
        return
    done = subprocess.run(["sh", "-c", '. "$top/tools/setup.sh" && setup_packages $lab_packages'],
                          env=dict(os.environ, top=str(TOP)))
    if done.returncode or not have_programs():
        raise package.Missing(f"the lab needs {machine.QEMU}, virtiofsd, gcc, dpkg-deb and "
                             "unshare: see the packages of lab_packages in tools/setup.sh")


def environment():
    passed = {key: value for key, value in os.environ.items() if PASSED_ON.fullmatch(key)}
    return {"KVMCPUD_SLOWNESS": SLOWNESS, **passed, "PWD": os.getcwd(), "KVMCPUD_LAB": "1",
            "KVMCPUD_LAB_DIR": str(SHARE)}


@contextlib.contextmanager
def signals_end_it(timeout):
    """SIGINT and its like, and the time-out, come as an End, also out of a blocked write."""
    def end(number, _frame):
        if number == signal.SIGALRM:
            raise End(TIMEOUT, f"not done within {timeout:g} s")
        raise End(128 + number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
    for number in numbers:
        signal.signal(number, end)
    signal.setitimer(signal.ITIMER_REAL, timeout or 0)
    try:
        yield
    finally:
        for number in numbers:  # so that the tidying up is not cut short
            signal.signal(number, signal.SIG_IGN)


@contextlib.contextmanager
def raw_terminal(wanted):
    if not wanted:
        yield
        return
    before = termios.tcgetattr(0)
    try:
        tty.setraw(0)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)


class Link:
    """What goes to and fro between the machine and this process."""

    def __init__(self, vm, shell):
        self._vm, self._shell = vm, shell
        self._console = collections.deque(maxlen=64)  # chunks
        self._console_ended = False
        self._received = bytearray()
        self._heard = time.monotonic()
        self.status = None
        if shell:
            signal.signal(signal.SIGWINCH, lambda *_: self._send_window())
            self._send_window()

    def run(self):
        """Until COMMAND has ended: its exit status."""
        sources = {self._vm.port: self._on_port, self._vm.console: self._on_console}
        if self._shell:
            sources[0] = self._on_key
        while self.status is None:
            if self._console_ended:
                sources.pop(self._vm.console, None)
            ready = select.select(list(sources), [], [], SILENCE / 10)[0]
            if time.monotonic() > self._heard + SILENCE and self._vm.port not in ready:
                raise End(DIED, f"no sign of life for {SILENCE} s{self._last_words()}")
            for source in sorted(ready, key=lambda s: s is self._vm.port):  # the console first
                sources[source]()
        return self.status

    def _on_console(self):
        came = b""
        with contextlib.suppress(OSError):
            came = self._vm.console.recv(4096)
        self._console_ended = not came
        if came:
            self._console.append(came)

    def _on_port(self):
        try:
            came = self._vm.port.recv(65536)
        except OSError:
            came = b""
        if not came:
            while not self._console_ended and select.select([self._vm.console], [], [], 0.2)[0]:
                self._on_console()
            raise End(DIED, f"the machine died{self._last_words()}")
        self._received += came
        self._heard = time.monotonic()
        while len(self._received) >= 8:
            kind, size = struct.unpack_from("<II", self._received)
            if len(self._received) < 8 + size:
                break
            self._take(kind, bytes(self._received[8:8 + size]))
            del self._received[:8 + size]

    def _take(self, kind, data):
        if kind == STATUS:
            self.status, = struct.unpack("<I", data)
        elif kind in (OUTPUT, ERROR):
            while data:
                data = data[os.write(1 if kind == OUTPUT else 2, data):]

    def _send(self, kind, data):
        self._vm.port.sendall(struct.pack("<II", kind, len(data)) + data)

    def _on_key(self):
        keys = os.read(0, 1024)
        if not keys or QUIT_KEY in keys:
            raise End(128 + signal.SIGINT, "ended")
        self._send(INPUT, keys)

    def _send_window(self):
        self._send(WINDOW, fcntl.ioctl(0, termios.TIOCGWINSZ, bytes(8)))

    def _last_words(self):
        lines = b"".join(self._console).decode(errors="replace").splitlines()
        # virtiofsd's complaint about QEMU's end is no cause of it.
        lines = [line for line in lines if line.strip() and "virtio_loop" not in line][-12:]
        return "; its last words:\n  " + "\n  ".join(lines) if lines else ""


def run(options):
    with signals_end_it(options.timeout):
        prepare()
        command = options.command or [os.environ.get("SHELL", "/bin/sh")]
        vm = machine.Machine(options, command, environment(), SHARE)
        try:
            with raw_terminal(options.shell):
                return Link(vm, options.shell).run()
        finally:
            vm.end()


def main(argv):
    options = parse(argv)
    try:
        return run(options)
    except package.Missing as missing:
        package.say(missing)
        return MISSING
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing more to say there
        return 128 + signal.SIGPIPE
    except End as end:
        if str(end):
            package.say(end)
        return end.status
