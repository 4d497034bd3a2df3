# SPDX-License-Identifier: MIT
"""What is measured. Each case is a class whose measure() is called once a round and
returns values: periods between exits in nanoseconds, or other quantities that rows.py
names. A case may keep a daemon from one round to the next; close() ends it.

Exits are measured alike everywhere, in process, by forwarder or by daemon: the
time between two returns of KVM_RUN on the vCPU's thread.
"""

import array
import json
import os
import signal
import statistics
import subprocess
import time

from . import figures
from .daemon import Daemon, daemon_argv, wait_until
from .setting import ADDRESSES, TIMEOUT_S, Failed

MEMORY_VCPUS = 8       # further ones, for the figure of each
RING_EVENTS = 10000    # more than a vCPU's ring holds, so that all of it is resident
WATCHERS = 8


def _moments(data):
    moments = array.array("Q")
    moments.frombytes(data)
    return moments


class Case:
    def __init__(self, setting):
        self.setting = setting
        self.total = setting.exits + setting.warm_up

    def _periods(self, data):
        found = figures.periods(_moments(data)[self.setting.warm_up:])
        if not found:
            raise Failed("no two neighbouring exits were seen")
        return found

    def close(self):
        pass


class Reference(Case):
    """In process, or by way of an echo process at placement."""

    def __init__(self, setting, guest, placement=None):
        super().__init__(setting)
        self.argv = [setting.program("tests/bench/reference"), setting.cpu, self.total,
                     setting.guest(guest)]
        if placement:
            self.argv.append(setting.place(placement))

    def measure(self):
        return self._periods(self.setting.run(self.argv))


class WithDaemon(Case):
    """Has a daemon from the first round to the end. Subclasses say how it is started."""

    def __init__(self, setting, guest):
        super().__init__(setting)
        self.guest = guest
        self.daemon = None

    name = property(lambda self: f"{type(self).__name__.lower()}-{self.guest}")

    def start(self):
        return Daemon(self.setting, self.name, self.guest)

    def measure(self):
        if self.daemon is None:
            self.daemon = self.start()
        return self.measure_daemon()

    def measure_daemon(self):
        raise NotImplementedError

    def client(self, argv, cpu, exits, **options):
        argv = [*argv, cpu, exits, self.setting.dir, self.name, self.guest,
                hex(ADDRESSES[self.guest])]
        return self.setting.run(argv, **options)

    def c_client(self, cpu, exits):
        return self.client([self.setting.program("tests/bench/client")], cpu, exits)

    def close(self):
        if self.daemon is not None:
            self.daemon.close()
            self.daemon = None


class SocketC(WithDaemon):
    """A C client at placement. Behind it the vCPU stays frozen until the next round."""

    def __init__(self, setting, guest, placement):
        super().__init__(setting, guest)
        self.placement = placement
        self.at = setting.place(placement)

    name = property(lambda self: f"{type(self).__name__.lower()}-{self.guest}-{self.placement}")

    def measure_daemon(self):
        return self._periods(self.c_client(self.at, self.total))


class Registers(Reference):
    """In process, with the registers coming and going with each exit."""

    def __init__(self, setting, guest):
        super().__init__(setting, guest)
        self.argv.append("registers")


class PlainWithRegisters(SocketC):
    """A plain write answered by a C client, and to each period is added what the registers
    cost in process: what a hypercall can at best be."""

    def measure_daemon(self):
        plain = super().measure_daemon()
        bare, with_registers = (statistics.median(case.measure()) for case in (
            Reference(self.setting, self.guest), Registers(self.setting, self.guest)))
        price = max(0, round(with_registers - bare))
        return [period + price for period in plain]


class SocketPython(SocketC):
    def __init__(self, setting, guest, placement):
        super().__init__(setting, guest, placement)
        self.interpreter, self.environment = setting.python()
        probe = [self.interpreter, "-c", "import kvmcpu"]
        setting.run(probe, env=self.environment)

    def measure_daemon(self):
        script = os.path.join(os.path.dirname(__file__), "..", "client.py")
        return self._periods(self.client([self.interpreter, script], self.at, self.total,
                                         env=self.environment))


def _attach(setting, argv):
    """Starts a monitoring program and returns it once it says that it is attached."""
    process = subprocess.Popen([str(a) for a in argv], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    line = process.stderr.readline()
    if line != b"ready\n":
        process.kill()
        process.wait()
        raise Failed(line.decode(errors="replace").strip() or f"{argv[0]} ended at once")
    return process


def _finish(process):
    """Ends its standard input and returns its output."""
    try:
        out, words = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise Failed("a monitor did not end") from None
    if process.returncode != 0:
        raise Failed(words.decode(errors="replace").strip())
    return out


class Unclaimed(WithDaemon):
    """Nobody claims the range; a monitor on the other CPU tells the moments. Where it was
    overtaken there is a gap, so only true neighbours count."""

    def start(self):
        return Daemon(self.setting, self.name, self.guest, "--paused",
                      loop_cpu=self.setting.other_cpu())

    def measure_daemon(self):
        setting = self.setting
        watch = _attach(setting, [setting.program("tests/bench/watch"), setting.other_cpu(),
                                  self.total, setting.dir, self.name])
        self.daemon.resume()
        try:
            return self._periods(_finish(watch))
        finally:
            self.daemon.pause()


class Quiet(WithDaemon):
    """A C client beside the vCPU; the daemon's loop, which serves monitors, on the other CPU."""

    def start(self):
        return Daemon(self.setting, self.name, self.guest, loop_cpu=self.setting.other_cpu())

    def measure_daemon(self):
        return self._periods(self.c_client(self.setting.cpu, self.total))


class Watched(Quiet):
    """The same with monitors attached, which the loop's CPU serves."""

    def __init__(self, setting, guest):
        super().__init__(setting, guest)
        self.tally = {"events": 0, "lost": 0, "missing": 0}

    def measure_daemon(self):
        setting = self.setting
        monitors = _attach(setting, [setting.program("tests/bench/monitors"), setting.other_cpu(),
                                     WATCHERS, setting.dir, self.name])
        try:
            found = super().measure_daemon()
        finally:
            for key, count in json.loads(_finish(monitors)).items():
                self.tally[key] += count
        return found


def _spawned_at(argv, **options):
    """Starts argv and returns the moment before and the process id."""
    before = time.monotonic_ns()
    return before, os.posix_spawn(argv[0], argv, os.environ, **options)


class Floor(Case):
    """Starts a static program that makes a VM with a vCPU: nanoseconds until it has."""

    def measure(self):
        reader, writer = os.pipe()
        try:
            before, pid = _spawned_at([self.setting.program("tests/bench/floor")],
                                      file_actions=[(os.POSIX_SPAWN_DUP2, writer, 1)])
            _, status = os.waitpid(pid, 0)
            data = os.read(reader, 8)
        finally:
            os.close(reader)
            os.close(writer)
        if status != 0 or len(data) != 8:
            raise Failed("tests/bench/floor could not make a VM")
        return [int.from_bytes(data, "little") - before]


class Start(Case):
    """Starts the daemon: nanoseconds until its vCPU first entered the guest."""

    def measure(self):
        daemon = SpawnedDaemon(self.setting)
        try:
            return [wait_until("first entry", daemon.first_entry_ns) - daemon.before]
        finally:
            daemon.close()


class SpawnedDaemon(Daemon):
    """A Daemon started the way Floor starts its program, on no particular CPU."""

    def __init__(self, setting):
        self.setting, self.name = setting, "start"
        argv = daemon_argv(setting, self.name, "pio", "--memory", "128M")
        self.before, self.pid = _spawned_at(argv)
        try:
            wait_until("start", lambda: self.ctl("status", check=False) == 0)
        except BaseException:
            self.close()
            raise

    def close(self):
        os.kill(self.pid, signal.SIGTERM)
        os.waitpid(self.pid, 0)


def _resident_kib(pid):
    """Resident memory of a daemon, all but the guest's RAM."""
    total, counted = 0, True
    with open(f"/proc/{pid}/smaps", encoding="ascii", errors="replace") as lines:
        for line in lines:
            words = line.split()
            if not words[0].endswith(":"):
                counted = "memfd:" not in line
            elif words[0] == "Rss:" and counted:
                total += int(words[1])
    return total


class Memory(Case):
    """Resident KiB of a daemon whose rings have been full, which has served a client."""

    def __init__(self, setting, vcpus=1):
        super().__init__(setting)
        self.vcpus = vcpus

    def measure(self):
        daemon = Daemon(self.setting, "memory-pio", "pio", "--memory", "128M",
                        "--cpus", str(self.vcpus), pinned=False)
        try:
            wait_until("full rings", lambda: all(
                int(v.get("num_events", 0)) > RING_EVENTS for v in daemon.ask("stats")["vcpus"]))
            self.setting.run([self.setting.program("tests/bench/client"), self.setting.cpu, 1000,
                              self.setting.dir, daemon.name, "pio", hex(ADDRESSES["pio"])])
            return [_resident_kib(daemon.process.pid)]
        finally:
            daemon.close()


class MemoryPerVcpu(Case):
    """What each further vCPU adds to that."""

    def measure(self):
        few = Memory(self.setting).measure()[0]
        many = Memory(self.setting, 1 + MEMORY_VCPUS).measure()[0]
        return [(many - few) / MEMORY_VCPUS]
