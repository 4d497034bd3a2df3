# SPDX-License-Identifier: MIT
"""Serves the devices of a small PC to one VM until it ends.

The guest's debug console goes to standard output. Exit status: 0 when the VM
has ended, 64 wrong usage, 65 the daemon refused this client, 69 no daemon, 76
the protocol was broken, 130 interrupted.
"""

import argparse
import contextlib
import os
import sys

import kvmcpu

from . import Cmos, Debugcon, I8042, Port92, Post, Serial

USAGE, REFUSED, NO_DAEMON, PROTOCOL, INTERRUPTED = 64, 65, 69, 76, 130
SUFFIXES = {"K": 10, "M": 20, "G": 30}


class Parser(argparse.ArgumentParser):
    """argparse with the exit status that sysexits(3) gives to wrong usage."""

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: {message}; see --help\n")


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
    add("--memory", type=size, metavar="SIZE",
        help="what CMOS says of RAM: bytes, or with K, M, G (default: what the VM has)")
    add("--log", metavar="FILE", help="the first serial port's output (default: discarded)")
    add("--post", action="store_true", help="print power-on self-test codes to standard error")
    add("--ready-fd", type=int, metavar="N",
        help="write a newline to descriptor N and close it once the devices are in force")
    return parser.parse_args(arguments)


def say(text):
    print(text, file=sys.stderr, flush=True)


def tell_ready(descriptor):
    """Says that accesses are answered from now on."""
    if descriptor is None:
        say("ready")
        return
    os.write(descriptor, b"\n")
    os.close(descriptor)


def make_devices(options, log):
    """One of each, with the sizes and streams that options name."""
    show = (lambda code: say(f"post {code:02x}")) if options.post else None
    return [Debugcon(sys.stdout.buffer), Post(show), Cmos(options.memory), I8042(), Port92(),
            Serial(log)]


def run(options):
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(options.log, "wb", buffering=0)) if options.log else None
        server = stack.enter_context(kvmcpu.Server(
            make_devices(options, log), options.vm, options.runtime_dir, name="pc"))
        tell_ready(options.ready_fd)
        if not server.serve_forever():
            say("pc: the daemon went away without a word; its own log says more")


def main(arguments=None):
    options = parse(arguments)
    try:
        run(options)
    except kvmcpu.ConnectError as error:
        return say(f"pc: {error}") or NO_DAEMON
    except kvmcpu.Refused as error:
        return say(f"pc: {error}") or REFUSED
    except kvmcpu.Error as error:
        return say(f"pc: {error}") or PROTOCOL
    except (OSError, ValueError) as error:
        return say(f"pc: {error}") or USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
