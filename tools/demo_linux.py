# SPDX-License-Identifier: MIT
"""The main job with a guest that nobody here wrote: Debian's cloud kernel boots to a shell whose
console, like every other device, is in another process.

On a terminal the shell is the caller's. With --json the demo types commands itself, checks what
they print, powers the guest off, and prints one object. Called by tools/demo, which sets up.
"""

import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import kvmcpu
from demo import EX_SOFTWARE, EX_UNAVAILABLE, Failure, start_ready

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP / "tests" / "system" / "linux"))

import image  # noqa: E402  (needs the path)
from console import Console, Silence  # noqa: E402

TIME_LIMIT = 300.0  # seconds to boot, or to power off; the emulated machine takes 10
MEMORY = "256M"


def devices_command(build, lang):
    """The program that serves a PC's devices, and the options that come before all others."""
    return [f"{build}/kvmcpu-pc"] if lang == "c" else [sys.executable, "-m", "kvmcpu.devices"]


class Machine:
    """The daemon, started paused, and its device process. serial is the latter's option."""

    def __init__(self):
        self.processes = []

    def start(self, options, directory, serial, log_level):
        initrd = pathlib.Path(directory) / "initramfs"
        initrd.write_bytes(image.initramfs())
        where = ["--runtime-dir", directory]
        self.daemon = self._start(
            [f"{options.build}/kvmcpud", *where, "--kernel", str(image.vmlinuz()),
             "--initrd", str(initrd), "--append", image.APPEND, "--cpus", str(options.cpus),
             "--memory", MEMORY, "--on-reset", "restart", "--paused", "--log-level", log_level],
            stdin=subprocess.DEVNULL)
        self.control = self._connect(directory)
        for note in self.control.status().notes:
            if "instruction emulator" in note:
                raise Failure(note, EX_UNAVAILABLE)
        self.devices = start_ready(
            [*devices_command(options.build, options.lang), *where, "--debugcon", "none",
             "--serial", serial, "--log", "warn"])
        self.processes.append(self.devices)

    def _start(self, command, **more):
        self.processes.append(subprocess.Popen(command, **more))
        return self.processes[-1]

    def _connect(self, directory):
        deadline = time.monotonic() + 30
        while self.daemon.poll() is None and time.monotonic() < deadline:
            try:
                return kvmcpu.Control(runtime_dir=directory)
            except kvmcpu.ConnectError:
                time.sleep(0.01)  # it is not there yet; the deadline bounds this
        if self.daemon.poll() is None:
            raise Failure("kvmcpud did not open its socket within 30 seconds")
        raise Failure("kvmcpud did not start; its message is above", self.daemon.returncode)

    def end(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def by_hand(machine):
    """The caller's own session; returns when the guest has gone."""
    print("Linux boots; its console is in another process. `poweroff` ends it, Ctrl-A x too, "
          "Ctrl-A ? lists more.\r", file=sys.stderr)
    machine.control.resume()
    return machine.daemon.wait()


QUESTIONS = {  # what is typed: what it must print
    "uname -r": lambda seen: seen["kernel"],
    "nproc": lambda seen: str(seen["cpus"]),
    "echo $((6 * 7))": lambda seen: "42",
    "grep -c 'uart:16550A' /proc/tty/driver/serial": lambda seen: "1",
    "head -c 4096 /dev/zero | wc -c": lambda seen: "4096",
}


def by_itself(machine, options, directory):
    """Types, checks and powers off; what was seen, as a dict."""
    with Console(f"{directory}/console", TIME_LIMIT, sys.stderr.buffer.write) as console:
        began = time.monotonic()
        machine.control.resume()
        release, cpus = console.wait_ready()
        seen = {"kernel": release, "cpus": cpus, "devices": options.lang,
                "platform": "lab" if os.environ.get("KVMCPUD_LAB") else "host",
                "seconds_to_shell": round(time.monotonic() - began, 3), "answers": []}
        if cpus != options.cpus:
            raise Failure(f"the guest found {cpus} CPUs, not {options.cpus}")
        for typed, expected in QUESTIONS.items():
            printed = console.check(typed)
            if printed != expected(seen):
                raise Failure(f"{typed!r} printed {printed!r} in the guest, not "
                              f"{expected(seen)!r}")
            seen["answers"].append({"typed": typed, "printed": printed})
        stats = machine.control.stats()
        seen["exits"] = sum(vcpu.num_vm_exits for vcpu in stats.vcpus)
        seen["exits_answered_by_devices"] = sum(claim.reads + claim.writes
                                                for claim in stats.claims)
        console.type("poweroff\n")
        try:
            seen["exit_status"] = machine.daemon.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            raise Failure("the guest did not power off") from None
        if seen["exit_status"]:
            raise Failure(f"kvmcpud ended with status {seen['exit_status']}")
        return seen


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--lang", default="python")
    parser.add_argument("--cpus", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that finally clauses run
    with tempfile.TemporaryDirectory(prefix="kvmcpud-demo-") as directory:
        serial = f"unix:{directory}/console" if options.json else "-"
        machine = Machine()
        try:
            machine.start(options, directory, serial, "error" if options.json else "info")
            if not options.json:
                return by_hand(machine)
            print(json.dumps(by_itself(machine, options, directory)))
            return 0
        finally:
            machine.end()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        print(f"tools/demo: {failure}", file=sys.stderr)
        sys.exit(failure.status)
    except (kvmcpu.Error, Silence) as error:
        print(f"tools/demo: {error}", file=sys.stderr)
        sys.exit(EX_SOFTWARE)
    except KeyboardInterrupt:
        sys.exit(130)
