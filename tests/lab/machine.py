# SPDX-License-Identifier: MIT
"""The lab's machine: QEMU, and a virtiofsd for each of its two file systems.

QEMU emulates the processors (TCG), so no KVM is needed here, and they have AMD-V,
so there is one in there. All connections are inherited descriptors and all files
are in memory, so that nothing is left behind however this ends; the children die
with this process even if it is killed.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess

import cpio
import kernel

PR_SET_PDEATHSIG = 1  # linux/prctl.h
VIRTIOFSD = ("/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd")  # Debian 12; newer
QEMU = "qemu-system-x86_64"
APPEND = ("console=ttyS0 quiet panic=-1 mitigations=off nokaslr random.trust_cpu=on "
          "cryptomgr.notests no5lvl tsc=reliable")


def virtiofsd():
    """The path of virtiofsd, or None."""
    return next((path for path in VIRTIOFSD if os.access(path, os.X_OK)), None)


def _words(strings):
    return b"".join(os.fsencode(string) + b"\0" for string in strings)


def initramfs(found, command, environment, terminal):
    """What init.c finds at /; found is kernel.find()'s directory."""
    files = [("dev", cpio.DIRECTORY, b""), ("modules", cpio.DIRECTORY, b""),
             ("init", cpio.PROGRAM, kernel.init().read_bytes()),
             ("command", cpio.FILE, _words(command)),
             ("environment", cpio.FILE, _words(f"{key}={value}" for key, value in
                                               environment.items()))]
    files += [(f"modules/{path.name}", cpio.FILE, path.read_bytes()) for path in
              sorted(found.glob("*.ko"))]
    return cpio.archive(files + [("terminal", cpio.FILE, b"")] * terminal)


class Machine:
    """A machine that boots. port and console are sockets; both end when QEMU does."""

    def __init__(self, options, command, environment, share):
        self._children = []
        self._inherited = contextlib.ExitStack()
        with self._inherited:
            self.port, port = self._pair()
            self.console, console = self._pair()
            memory = self._memory_file(initramfs(kernel.find(), command, environment,
                                                 options.shell))
            fs = [self._serve("/", console, readonly=True), self._serve(share, console)]
            self._start(self._qemu(options, memory, port, console, *fs), console,
                        (memory, port, console, *fs))

    def _keep(self, fd):
        """A descriptor that a child inherits and this process closes after starting it."""
        self._inherited.callback(os.close, fd)
        return fd

    def _pair(self):
        ours, theirs = socket.socketpair()
        return ours, self._keep(theirs.detach())

    def _memory_file(self, data):
        fd = self._keep(os.memfd_create("initramfs"))
        with open(fd, "wb", closefd=False) as file:
            file.write(data)
        return fd

    def _serve(self, directory, errors, readonly=False):
        """Starts a virtiofsd; the descriptor by which QEMU talks to it."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind("")  # an abstract address that the kernel picks
        listener.listen(1)
        client = socket.socket(socket.AF_UNIX)
        client.connect(listener.getsockname())
        command = [virtiofsd(), f"--fd={listener.fileno()}", "-f", "-o", f"source={directory}",
                   "-o", "sandbox=chroot,cache=always,log_level=err"]
        if readonly or os.getuid():
            # A mount name space of its own, in which / is read-only whatever the lab
            # asks for; without root, a user name space as well, to be allowed chroot.
            script = 'mount -o remount,bind,ro / || exit; exec "$@"' if readonly else 'exec "$@"'
            command = ["unshare", "--mount", *["--map-root-user"] * bool(os.getuid()),
                       "sh", "-c", script, "sh", *command]
        self._start(command, errors, [listener.fileno()])
        listener.close()
        return self._keep(client.detach())

    @staticmethod
    def _qemu(options, memory, port, console, root, share):
        cpu = os.environ.get("KVMCPUD_LAB_CPU", "max")
        words = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                 "-machine", "q35,memory-backend=ram", "-cpu", cpu, "-accel", "tcg,thread=multi",
                 "-smp", str(options.cpus), "-m", options.memory,
                 "-object", f"memory-backend-memfd,id=ram,size={options.memory},share=on",
                 "-kernel", str(kernel.find() / "vmlinuz"), "-initrd", f"/proc/self/fd/{memory}",
                 "-append", APPEND,
                 "-chardev", f"socket,id=console,fd={console}", "-serial", "chardev:console",
                 "-device", "virtio-serial-pci", "-chardev", f"socket,id=port,fd={port}",
                 "-device", "virtserialport,chardev=port"]
        for tag, fd in ("root", root), ("share", share):
            words += ["-chardev", f"socket,id={tag},fd={fd}",
                      "-device", f"vhost-user-fs-pci,chardev={tag},tag={tag}"]
        return words

    def _start(self, command, errors, descriptors):
        libc = ctypes.CDLL(None)  # not after fork

        def die_with_parent():
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        self._children.append(subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
            pass_fds=descriptors, start_new_session=True, preexec_fn=die_with_parent))

    def end(self):
        """Ends QEMU, with whatever runs in it, and the rest."""
        for child in reversed(self._children):
            child.kill()
            child.wait()
        self.port.close()
        self.console.close()
