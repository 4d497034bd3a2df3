# SPDX-License-Identifier: MIT
"""Kernels for --kernel: tests/guest/kernel.S linked as the protocols want it, a bzImage
around it, and the device that talks to it.
"""

import struct

import kvmcpu
from guests import SOURCES, run

PORT = 0x500
AT = 0x200000  # where the ELF files are linked to

# Offsets in a bzImage (the kernel's Documentation/arch/x86/boot.rst).
FIELDS = {"setup_sects": (0x1f1, "B"), "syssize": (0x1f4, "I"), "boot_flag": (0x1fe, "H"),
          "jump": (0x200, "H"), "header": (0x202, "4s"), "version": (0x206, "H"),
          "loadflags": (0x211, "B"), "code32_start": (0x214, "I"), "initrd_addr_max": (0x22c, "I"),
          "kernel_alignment": (0x230, "I"), "relocatable_kernel": (0x234, "B"),
          "xloadflags": (0x236, "H"), "cmdline_size": (0x238, "I"),
          "pref_address": (0x258, "Q"), "init_size": (0x260, "I")}
SECTORS = 3


def assemble(directory, protocol, bits, at=AT, entry="_start", **symbols):
    """kernel.S as an ELF of 32 or 64 bits, linked to at; the path."""
    target = directory / f"kernel-{int(protocol)}-{bits}"
    symbols = {"PROTOCOL": int(protocol), "PORT": PORT, "FLAGS": 3, "ROOM": 0, **symbols}
    defines = [word for key, value in symbols.items() for word in ("--defsym", f"{key}={value}")]
    run("as", f"--{bits}", *defines, "-o", f"{target}.o", SOURCES / "kernel.S")
    run("ld", "-n", "-m", "elf_i386" if bits == 32 else "elf_x86_64", f"-Ttext={at:#x}",
        f"--section-start=.note.Xen={at + 4096:#x}", "-e", entry, "-o", target, f"{target}.o")
    return target


def payload(directory):
    """kernel.S as the 64-bit part of a bzImage."""
    target = directory / "payload"
    run("objcopy", "-O", "binary", "-j", ".text", assemble(directory, 2, 64), target)
    return target.read_bytes()


def bzimage(code, **changes):
    """A bzImage with this 64-bit part; changes are header fields."""
    code += bytes(-len(code) % 16)
    values = {"setup_sects": SECTORS, "syssize": len(code) // 16, "boot_flag": 0xaa55,
              "jump": 0x66eb, "header": b"HdrS", "version": 0x020f, "loadflags": 1,
              "code32_start": 0x100000, "initrd_addr_max": 0x7fffffff,
              "kernel_alignment": 0x200000, "relocatable_kernel": 1, "xloadflags": 1,
              "cmdline_size": 2047, "pref_address": 0x1000000, "init_size": 0x800000, **changes}
    head = bytearray((SECTORS + 1) * 512)
    for name, value in values.items():
        offset, form = FIELDS[name]
        struct.pack_into(f"<{form}", head, offset, value)
    return bytes(head) + code


class Talk(kvmcpu.Device):
    """Hears what the kernel was started with, then asks it for memory.

    talk is a generator function. It is called with the registers, yields pairs of
    address and size, and is sent the bytes there. When it ends, so does the VM.
    """

    NAMES = ("eax", "ebx", "esi", "cr0", "cs", "ds")

    def __init__(self, talk):
        self._talk, self._asked = talk, None
        self._told, self._question, self._read, self._size = [], [], bytearray(), 0

    def _next_question(self):
        if self._asked is None:
            self._asked = self._talk(dict(zip(self.NAMES, self._told, strict=True)))
            address, self._size = next(self._asked)
        else:
            address, self._size = self._asked.send(bytes(self._read[:self._size]))
        self._read.clear()
        return [address, (self._size + 3) // 4]

    @kvmcpu.pio_write(PORT, sizes=4)
    def hear(self, access):
        self._told.append(access.value)

    @kvmcpu.pio_read(PORT, sizes=4)
    def ask(self, access):
        if not self._question:
            try:
                self._question = self._next_question()
            except StopIteration:
                return kvmcpu.Reply(0, effects=[kvmcpu.stop_vm(0, "all is told")])
        return self._question.pop(0)

    @kvmcpu.pio_write(PORT + 4, sizes=4)
    def word(self, access):
        self._read += access.value.to_bytes(4, "little")
