# SPDX-License-Identifier: MIT
"""How long Debian's cloud kernel takes to its init: with kvmcpud and devices in another
process, and with QEMU. Both run the same kernel, initramfs and command line.

The clock runs from the start of the first process to the init's greeting on the serial
console, so a device process's own start counts as well. How many exits to user space a boot
takes is counted once, in a boot of its own, by the kernel's tracepoint where perf can be
used.
"""

import re
import shutil
import signal
import socket
import subprocess
import sys
import time

from .cases import Case
from .daemon import wait_until
from .setting import TOP, Failed, Unavailable

sys.path.insert(0, str(TOP / "tests" / "system" / "linux"))

MEMORY = "256M"
BOOT_S = 180  # picked; 10 in an emulated machine
GREETING = re.compile(rb"guest is up: .*\n")
TRACEPOINT = "kvm:kvm_userspace_exit"


def _native_kernel_mode(setting, kernel):
    """Whether this KVM runs a guest's kernel mode on the processor, as the daemon says it."""
    started = subprocess.Popen(
        [setting.program("kvmcpud"), "--runtime-dir", str(setting.dir), "--name", "probe",
         "--kernel", kernel, "--paused"], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    said = []
    for line in started.stderr:
        said.append(line.decode(errors="replace"))
        if ": info: " in said[-1]:
            break
    started.send_signal(signal.SIGTERM)
    started.communicate()
    return not any("instruction emulator" in line for line in said)


def _listens(path):
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


class Boot(Case):
    """A boot for each round; subclasses start the processes, the first of them first."""

    def __init__(self, setting):
        super().__init__(setting)
        import image  # the package of the tests' guest; fetches it if need be
        self.image = image
        self.kernel = str(image.vmlinuz())
        if not _native_kernel_mode(setting, self.kernel):
            raise Unavailable("Linux does not boot on this KVM, which emulates the guest's kernel "
                              "mode: tools/lab tools/bench linux")
        self.initrd = setting.dir / "initramfs"
        self.initrd.write_bytes(image.initramfs())
        self.console = setting.dir / "console"
        self.tally = None
        self.processes = []

    def start(self):
        """Starts everything; the console's socket comes with it."""
        raise NotImplementedError

    def _listening(self):
        for process in self.processes:
            if process.poll() is not None:
                raise Failed(f"{process.args[0]} ended with status {process.returncode}")
        line = socket.socket(socket.AF_UNIX)
        try:
            line.connect(str(self.console))
            return line
        except OSError:
            line.close()
            return None

    def _boot(self):
        """Nanoseconds to the greeting."""
        before = time.monotonic_ns()
        self.start()
        seen = b""
        with wait_until("the console", self._listening) as line:
            line.settimeout(BOOT_S)
            while not GREETING.search(seen):
                try:
                    data = line.recv(4096)
                except TimeoutError:
                    data = b""
                if not data:
                    raise Failed(f"the guest did not come up; its last words: {seen[-200:]!r}")
                seen += data
            return time.monotonic_ns() - before

    def _end(self):
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.processes = []
        self.console.unlink(missing_ok=True)

    def _spawn(self, argv, **options):
        self.processes.append(subprocess.Popen(
            [str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            **options))
        return self.processes[-1]

    def _count(self):
        """Exits to user space of one boot, or None where nothing can count them."""
        if not shutil.which("perf"):
            return None
        out = self.setting.dir / "perf.txt"
        perf = subprocess.Popen(["perf", "stat", "-a", "-e", TRACEPOINT, "-x", ";", "-o", out],
                                stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            self._boot()
        finally:
            perf.send_signal(signal.SIGINT)
            perf.wait()
            self._end()
        found = re.search(rf"^(\d+);;{TRACEPOINT};", out.read_text(), re.MULTILINE)
        return int(found[1]) if found else None

    def measure(self):
        if self.tally is None:
            self.tally = {"exits_per_boot": self._count()}
        try:
            return [self._boot()]
        finally:
            self._end()

    def close(self):
        self._end()


class Kvmcpud(Boot):
    """With the ready devices in C or in Python."""

    def __init__(self, setting, language):
        super().__init__(setting)
        if language == "c":
            self.devices, self.environment = [setting.program("kvmcpu-pc")], None
        else:
            interpreter, self.environment = setting.python()
            self.devices = [interpreter, "-m", "kvmcpu.devices"]
        self.name = f"linux-{language}"

    def start(self):
        where = ["--runtime-dir", self.setting.dir]
        self._spawn([self.setting.program("kvmcpud"), *where, "--name", self.name,
                     "--kernel", self.kernel, "--initrd", self.initrd, "--append",
                     self.image.APPEND, "--memory", MEMORY, "--paused", "--log-level", "error"])
        wait_until("kvmcpud", lambda: _listens(self.setting.dir / self.name / "device.sock"))
        self._spawn([*self.devices, *where, "--vm", self.name, "--debugcon", "none", "--serial",
                     f"unix:{self.console}", "--log", "error", "--resume"], env=self.environment)


class Qemu(Boot):
    """The same guest with QEMU's devices, in its own process."""

    MACHINES = {
        # An ISA serial port, the PIT and PICs, no PCI: what kvmcpud and its devices are.
        "microvm": ["-M", "microvm,rtc=on,isa-serial=on"],
        "pc": ["-M", "pc"],
    }

    def __init__(self, setting, machine):
        super().__init__(setting)
        if not shutil.which("qemu-system-x86_64"):
            raise Unavailable("needs qemu-system-x86_64 (Debian: qemu-system-x86)")
        self.machine = self.MACHINES[machine]

    def start(self):
        self._spawn(["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", *self.machine,
                     "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m",
                     MEMORY, "-kernel", self.kernel, "-initrd", self.initrd, "-append",
                     self.image.APPEND, "-chardev",
                     f"socket,id=console,path={self.console},server=on,wait=on", "-serial",
                     "chardev:console"], stderr=subprocess.DEVNULL)
