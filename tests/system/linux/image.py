# SPDX-License-Identifier: MIT
"""A Linux guest that nobody here wrote: Debian's cloud kernel, unmodified, and an
initramfs of Debian's static busybox with a shell on the serial console.

Both come as packages that are fetched once into the lab's cache directory and
never installed. The guest greets with console.READY when it is up.
"""

import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "lab"))

import cpio  # noqa: E402  (needs the path)
import kernel  # noqa: E402
import package  # noqa: E402

APPEND = "console=ttyS0 quiet"

INITTAB = b"""\
::sysinit:/etc/boot
ttyS0::wait:/etc/autorun
ttyS0::respawn:-/bin/sh
::ctrlaltdel:/sbin/reboot
"""

BOOT = b"""\
#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox mkdir -p /usr/bin /usr/sbin /tmp
/bin/busybox --install -s
hostname guest
echo "guest is up: Linux $(uname -r), $(nproc) CPUs"
stty echo  # which waits until that is sent: this session's end hangs up, and drops the rest
"""

PROFILE = b"export PS1='# ' PATH=/sbin:/bin:/usr/sbin:/usr/bin HOME=/\n"


def vmlinuz():
    """The kernel's path, fetched if need be."""
    return kernel.find() / "vmlinuz"


def initramfs(more=()):
    """An initramfs, bytes. more: entries as cpio.archive() takes them, in place of the
    guest's own or beside them; etc/autorun is run on the console before the shell."""
    busybox = package.find("busybox-static", "bin/busybox", "1 MB")
    entries = [(name, cpio.DIRECTORY, b"") for name in
               ("bin", "dev", "etc", "proc", "sbin", "sys")]
    entries += [
        ("dev/console", cpio.CHARACTER_DEVICE, b"", (5, 1)),  # init's, before devtmpfs
        ("bin/busybox", cpio.PROGRAM, busybox.read_bytes()),
        ("bin/sh", cpio.LINK, b"busybox"),
        ("init", cpio.LINK, b"bin/busybox"),
        ("etc/inittab", cpio.FILE, INITTAB),
        ("etc/boot", cpio.PROGRAM, BOOT),
        ("etc/autorun", cpio.PROGRAM, b"#!/bin/sh\n"),
        ("etc/profile", cpio.FILE, PROFILE),
    ]
    return cpio.archive([*entries, *more])


if __name__ == "__main__":  # fetches what is missing, for a place without a network
    try:
        vmlinuz()
        initramfs()
    except package.Missing as missing:
        package.say(missing)
        sys.exit(69)
