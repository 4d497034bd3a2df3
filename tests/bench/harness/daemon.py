# SPDX-License-Identifier: MIT
"""A kvmcpud that is measured: started on given CPUs, asked by kvmcpuctl, ended with its bench.

Between measurements a daemon costs nothing: its vCPU is frozen in an access
that nobody answers (a claim's ABSENCE_FREEZE, once a client has been there), or
it is paused.
"""

import json
import os
import signal
import subprocess
import time

from .setting import GUEST_GPA, TIMEOUT_S, Failed

POLL_S = 0.002  # picked: short against what is waited for, long against what it costs


def wait_until(what, ready):
    """Asks ready() until it gives something true, and returns that."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        value = ready()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {TIMEOUT_S} s")
        time.sleep(POLL_S)


def daemon_argv(setting, name, guest, *options):
    return [setting.program("kvmcpud"), "--runtime-dir", str(setting.dir), "--name", name,
            "--mode", "protected", "--entry", hex(GUEST_GPA), "--log-level", "error",
            "--image", f"{setting.guest(guest)}@{GUEST_GPA:#x}", *options]


class Daemon:
    """One daemon with the vCPU's thread on setting.cpu, and the loop's on loop_cpu (None: the
    same)."""

    def __init__(self, setting, name, guest, *options, loop_cpu=None, pinned=True):
        self.setting, self.name = setting, name
        argv = daemon_argv(setting, name, guest, *options)
        self.log = open(setting.dir / f"{name}.log", "wb+")
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=self.log)
        try:
            if pinned:
                os.sched_setaffinity(self.process.pid, {setting.cpu})
            wait_until(f"start of {name}", self._started)
            if pinned:
                self._pin(setting.cpu if loop_cpu is None else loop_cpu)
        except BaseException:
            self.close()
            raise

    def _started(self):
        if self.process.poll() is not None:
            self.log.seek(0)
            raise Failed(self.log.read().decode(errors="replace").strip() or "kvmcpud ended")
        return self.ctl("status", check=False) == 0

    def _pin(self, loop_cpu):
        """The first thread is the loop's, all others are vCPUs'."""
        pid = self.process.pid
        for tid in map(int, os.listdir(f"/proc/{pid}/task")):
            os.sched_setaffinity(tid, {loop_cpu if tid == pid else self.setting.cpu})

    def ctl(self, *words, check=True):
        """Runs a command of kvmcpuctl: its output, or its status if it need not succeed."""
        argv = [self.setting.program("kvmcpuctl"), *words, "--vm", self.name,
                "--runtime-dir", str(self.setting.dir)]
        done = subprocess.run(argv, capture_output=True, timeout=TIMEOUT_S, check=False)
        if not check:
            return done.returncode
        if done.returncode != 0:
            raise Failed(done.stderr.decode(errors="replace").strip())
        return done.stdout

    def ask(self, *words):
        """A command of kvmcpuctl, and its answer as an object."""
        return json.loads(self.ctl(*words, "--json"))[words[0]]

    def pause(self):
        self.ctl("pause")

    def resume(self):
        self.ctl("resume")

    def first_entry_ns(self):
        """When vCPU 0 first entered the guest, or 0."""
        vcpu = self.ask("status")["vcpus"][0]
        return int(vcpu.get("first_entry_ns", 0))

    def close(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
