# SPDX-License-Identifier: MIT
"""Serves the devices of a small PC to one VM until it ends; after a reset of the
VM, new ones.

The names of the options and what they mean are those of kvmcpu-pc(1). With
--serial - and a terminal, Ctrl-A ? lists the keys that are not for the guest.

Exit status: 0 the VM has ended, or the user has detached; 64 wrong usage; 65
the daemon refused this client; 69 no daemon; 74 a file cannot be used, or input
or output failed; 76 the protocol was broken. A signal ends it as signals do,
with the terminal restored.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys

import kvmcpu

from . import Cmos, Debugcon, I8042, Port92, Post, Power, Serial
from .streams import open_stream
from .terminal import Escape

USAGE, REFUSED, NO_DAEMON, IO_ERROR, PROTOCOL = 64, 65, 69, 74, 76
LEVELS = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO,
          "debug": logging.DEBUG}
SUFFIXES = {"K": 10, "M": 20, "G": 30}
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Parser(argparse.ArgumentParser):
    """argparse with the exit status that sysexits(3) gives to wrong usage."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}; see --help\n")


class Unusable(Exception):
    """What an option names cannot be opened."""


class Ended(SystemExit):
    """A signal wants this process to end. code is its number."""


def size(text):
    """Bytes, or a number with K, M or G."""
    shift = SUFFIXES.get(text[-1:].upper(), 0)
    value = int(text[:-1] if shift else text, 0) << shift
    if value < 0:
        raise ValueError
    return value


def parse(arguments):
    parser = Parser(prog="python3 -m kvmcpu.devices", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--vm", default="default", metavar="NAME", help="the VM's name (default: default)")
    add("--runtime-dir", metavar="DIR",
        help="where VMs' sockets are (default: ${XDG_RUNTIME_DIR:-/run}/kvmcpud)")
    add("--debugcon", default="-", metavar="FILE|-|none",
        help="the debug console's output (default: -, standard output)")
    add("--serial", default="none", metavar="FILE|-|pty|unix:PATH|none",
        help="the first serial port: - is standard input and output, unix:PATH a socket to "
             "connect to (default: none)")
    add("--state", metavar="FILE",
        help="keep the devices' registers in FILE, for the next process if this one is killed")
    add("--memory", type=size, metavar="SIZE",
        help="what CMOS says of RAM: bytes, or with K, M, G (default: what the VM has)")
    add("--post", action="store_true", help="print power-on self-test codes to standard error")
    add("--log", default="info", choices=LEVELS, metavar="LEVEL",
        help="what goes to standard error: error, warn, info (the default) or debug")
    add("--resume", action="store_true",
        help="let a VM that was started paused run once the devices are in force")
    add("--ready-fd", type=int, metavar="N",
        help="write a newline to descriptor N and close it once the devices are in force")
    options = parser.parse_args(arguments)
    if options.debugcon == "pty" or options.debugcon.startswith("unix:"):
        parser.error(f"--debugcon {options.debugcon}: give a file, - or none")
    return options


def say(text):
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def naming(option, where, instead):
    """Says of an OSError within which option brought it about, and what to give instead."""
    try:
        yield
    except OSError as error:
        raise Unusable(f"{option} {where} cannot be opened: {error.strerror}; name "
                       f"{instead}") from None


class Machine:
    """What lasts from one reset of the VM to the next: the options, and where output goes."""

    def __init__(self, options, where, stack):
        self._options = options
        self._where = where
        self._server = None
        self.state = stack.enter_context(kvmcpu.StateFile(options.state)) if options.state else None
        self._console = self._serial = None
        with naming("--debugcon", options.debugcon, "a file that can be written, '-' or none"):
            if options.debugcon != "-":
                path = os.devnull if options.debugcon == "none" else options.debugcon
                self._console = stack.enter_context(open(path, "wb", buffering=0))
        with naming("--serial", options.serial, "a file that can be written, unix:PATH, pty, '-' "
                    "or none"):
            if options.serial != "none":
                self._serial = stack.enter_context(
                    open_stream(options.serial, keep=self.state is not None))

    def devices(self):
        """One of each, as after switching on."""
        show = (lambda code: say(f"post {code:02x}")) if self._options.post else None
        made = [Debugcon(self._console), Post(show), Cmos(self._options.memory), I8042(), Port92(),
                Power()]
        return made if self._serial is None else [*made, Serial(self._serial)]

    def inform(self, text):
        if LEVELS[self._options.log] <= logging.INFO:
            say(text)

    def tell_ready(self, server):
        """Says, the first time, that accesses are answered from now on."""
        before, self._server = self._server, server
        if before:
            return self.inform(f"pc: {before.notice.message}; goes on with new devices")
        if hasattr(self._serial, "path"):
            self.inform(f"pc: the serial port is {self._serial.path}")
        if server.resumed:
            self.inform(f"pc: goes on with {self._options.state}")
        if self._options.ready_fd is None:
            self.inform("ready")
        else:
            os.write(self._options.ready_fd, b"\n")
            os.close(self._options.ready_fd)
        if self._options.resume:
            with kvmcpu.Control(**self._where) as control:
                control.resume()


def run(options):
    where = {"vm": options.vm, "runtime_dir": options.runtime_dir, "name": "pc"}
    with contextlib.ExitStack() as stack:
        machine = Machine(options, where, stack)
        try:
            notice = kvmcpu.serve(machine.devices, ready=machine.tell_ready, raise_errors=OSError,
                                  state=machine.state, **where)
        except Escape as escape:
            return leave(escape.key, where)
        if notice:
            machine.inform(f"pc: {notice.message}")
        else:
            say("pc: the daemon went away without a word; its own log says more")


def leave(key, where):
    """What the user's key behind Ctrl-A asks for, beyond the end of this process."""
    if key == "x":
        with kvmcpu.Control(**where) as control:
            control.stop(0, "stopped from the console")


def end(number, frame):
    """A handler of signals. The way out is that of every exception; a second one is not to
    disturb it."""
    for other in ENDS:
        signal.signal(other, signal.SIG_IGN)
    raise Ended(number)


@contextlib.contextmanager
def signals_as_exceptions():
    """Signals that end a process raise Ended; ignored ones stay ignored."""
    before = {number: signal.signal(number, end) for number in ENDS
              if signal.getsignal(number) != signal.SIG_IGN}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main(arguments=None):
    options = parse(arguments)
    logging.getLogger("kvmcpu").setLevel(LEVELS[options.log])
    try:
        with signals_as_exceptions():
            run(options)
    except Ended as ended:
        # Whoever waits for this process is to learn of the signal.
        signal.signal(ended.code, signal.SIG_DFL)
        os.kill(os.getpid(), ended.code)
    except kvmcpu.ConnectError as error:
        return say(f"pc: {error}") or NO_DAEMON
    except kvmcpu.Refused as error:
        return say(f"pc: {error}") or REFUSED
    except (Unusable, kvmcpu.StateError) as error:
        return say(f"pc: {error}") or IO_ERROR
    except kvmcpu.Error as error:
        return say(f"pc: {error}") or PROTOCOL
    except OSError as error:
        return say(f"pc: {error}; the access in flight waits for another client") or IO_ERROR
    except ValueError as error:
        return say(f"pc: {error}") or USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
