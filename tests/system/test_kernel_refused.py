# SPDX-License-Identifier: MIT
"""Files that --kernel cannot start: one line that says what the file seems to be or
what is missing, and the documented status.
"""

import gzip
import lzma
import struct

import kernels
import pytest
from harness import IMAGE, USAGE

MIB = 1 << 20


@pytest.fixture
def file(tmp_path):
    """Makes a file of these bytes; returns its path."""
    def make(content, name="kernel"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return make


def padded(head, size=8192):
    return head + bytes(size - len(head))


def elf(machine, order="<", bits=64):
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1])
    return padded(ident.ljust(16, b"\0") + struct.pack(f"{order}HHI", 2, machine, 1))


@pytest.mark.parametrize("content, pattern", [
    (elf(40, bits=32), "ELF for ARM;"), (elf(183), "ELF for AArch64;"),
    (elf(243), "ELF for RISC-V;"), (elf(22, ">"), "ELF for S/390;"),
    (elf(21, ">"), "ELF for PowerPC 64;"), (elf(8, ">", 32), "ELF for MIPS;"),
    (elf(999), "another machine, number 999"), (elf(62), "nothing to load"),
    (elf(62)[:30], "truncated ELF"), (b"\x7fELF", "truncated ELF"),
    (gzip.compress(b"kernel"), "compressed by gzip"), (lzma.compress(b"kernel"), "by xz"),
    (padded(b"\x28\xb5\x2f\xfd"), "by zstd"), (padded(b"\x04\x22\x4d\x18"), "by lz4"),
    (padded(b"\x02\x21\x4c\x18"), "by lz4"), (padded(b"BZh9"), "by bzip2"),
    (padded(b"MZ"), "PE/EFI program"),
    (padded(b"MZ".ljust(56, b"\0") + b"ARM\x64"), "image for arm64"),
    (padded(bytes(56) + b"RSC\x05"), "image for RISC-V"),
    (padded(b"\x27\x05\x19\x56"), "uImage"), (b"#!/bin/sh\nexit 0\n", "script"),
    (padded(b"070701"), r"initramfs.*--initrd"), (padded(bytes(510) + b"\x55\xaa"), "boot sector"),
    (padded(struct.pack("<IIi", 0x1badb002, 0, -0x1badb002)), "Multiboot header.*no ELF"),
    (b"x", "neither a Linux bzImage nor an ELF"), (b"hello, world\n", "neither a Linux"),
], ids=lambda value: value if isinstance(value, str) else "")
def test_something_else(refused, file, content, pattern):
    path = file(content)
    assert f"cannot start {path}: " in refused(IMAGE, pattern, "--kernel", path)


def test_no_file(refused, tmp_path, file):
    refused(IMAGE, "missing: No such file", "--kernel", tmp_path / "missing")
    refused(IMAGE, "not a regular file", "--kernel", tmp_path)
    refused(IMAGE, "empty", "--kernel", file(b""))
    refused(USAGE, "give a file", "--kernel", "")


def test_elf_program(refused):
    """Neither note nor header: this test's own assembler, for instance."""
    refused(IMAGE, "neither a PVH entry.*nor a Multiboot header", "--kernel", "/usr/bin/as")


CODE = bytes(0x1000)


@pytest.mark.parametrize("changes, pattern", [
    ({"version": 0x0204}, r"protocol 2\.04.*2\.12"), ({"version": 0x020b}, r"2\.11"),
    ({"xloadflags": 0}, "32-bit Linux"), ({"syssize": 0x101}, "truncated.*promises 6160"),
    ({"setup_sects": 255}, "truncated"), ({"syssize": 0xffffffff}, "truncated"),
    ({"syssize": 0x20}, "nothing behind"), ({"init_size": 0}, "impossible"),
    ({"pref_address": 1 << 40}, "impossible"), ({"pref_address": 0x1000001}, "impossible"),
    ({"kernel_alignment": 0}, "impossible"), ({"kernel_alignment": 3}, "impossible"),
    ({"pref_address": 0}, "below 1 MiB"),
    ({"init_size": 0xffffffff}, "beyond 3 GiB"),
    ({"relocatable_kernel": 0, "code32_start": 0xfffffff0}, "beyond 3 GiB"),
    ({"relocatable_kernel": 0, "code32_start": 0x10000}, "below 1 MiB"),
], ids=str)
def test_bzimage_header(refused, file, changes, pattern):
    refused(IMAGE, pattern, "--kernel", file(kernels.bzimage(CODE, **changes)))


def test_truncated_bzimage(refused, file):
    """Wherever it is cut, its header included."""
    whole = kernels.bzimage(CODE)
    for size in (0x1ff, 0x206, 0x230, 0x264, 1024, 2048, 2048 + 0x200, len(whole) - 16):
        pattern = "truncated" if size > 0x206 else "truncated|neither|boot sector"
        refused(IMAGE, pattern, "--kernel", file(whole[:size]))


def test_too_little_memory(refused, file):
    """How much is needed: the header's init_size from pref_address on."""
    kernel = file(kernels.bzimage(CODE, pref_address=0x1000000, init_size=0x1000001))
    refused(IMAGE, "needs RAM up to 0x2000001; give --memory 33M", "--kernel", kernel,
            "--memory", "32M")
    refused(IMAGE, "give --memory 33M", "--kernel", kernel, "--memory", "1M")


def test_initrd(refused, file, tmp_path):
    kernel = file(kernels.bzimage(CODE))
    large = tmp_path / "initrd"
    with open(large, "wb") as sparse:
        sparse.truncate(200 * MIB)
    refused(IMAGE, "with its initrd behind it.*give --memory 224M", "--kernel", kernel,
            "--initrd", large)
    limited = file(kernels.bzimage(CODE, initrd_addr_max=0x1ffffff), "limited")
    refused(IMAGE, f"initrd {large} has 209715200 bytes.*none beyond 0x1ffffff", "--kernel",
            limited, "--initrd", large, "--memory", "1G")
    for words, pattern in ((tmp_path / "missing", "missing: No such file"),
                           (tmp_path, "not a regular file"), (file(b"", "none"), "empty")):
        refused(IMAGE, pattern, "--kernel", kernel, "--initrd", words)


@pytest.mark.parametrize("protocol, most", [("linux", 300), ("pvh", 2047), ("multiboot", 65535)])
def test_command_line(refused, file, tmp_path, protocol, most):
    if protocol == "linux":
        kernel, own = file(kernels.bzimage(CODE, cmdline_size=most)), 0
    else:
        kernel = kernels.assemble(tmp_path, protocol == "pvh", 64)
        own = len(kernel.name) + 1 if protocol == "multiboot" else 0
    refused(USAGE, f"has {most + 1} bytes.*takes {most} at most; shorten --append", "--kernel",
            kernel, "--append", "x" * (most + 1 - own))


@pytest.mark.parametrize("at, pattern", [
    (0x1000, "0x20000-0x9ffff is free"), (0x9f000, "0x20000-0x9ffff is free"),
    (0xf0000, "0x20000-0x9ffff is free"), (0x8000000, "--memory 129M"),
])
def test_where_an_elf_lies(refused, tmp_path, at, pattern):
    refused(IMAGE, pattern, "--kernel", kernels.assemble(tmp_path, 0, 64, at=at, ROOM=5000))


def test_multiboot_flags(refused, tmp_path):
    for flag, pattern in ((4, "video mode"), (1 << 9, "flags 0x203, of which 0x200")):
        path = kernels.assemble(tmp_path, 0, 32, FLAGS=3 | flag)
        refused(IMAGE, pattern, "--kernel", path)


def test_entry_outside(refused, tmp_path):
    refused(IMAGE, "its entry, 0x300000, is not in anything", "--kernel",
            kernels.assemble(tmp_path, 0, 32, entry="0x300000"))


@pytest.mark.parametrize("options, pattern", [
    (["--firmware", "f"], "leave out --firmware"), (["--image", "f@0x8000"], "leave out"),
    (["--entry", "0x8000"], "leave out"), (["--entry", "0x8000", "--mode", "long"], "leave out"),
    (["--mode", "long"], "leave out"), (["--irqchip", "none", "--cpus", "2"], "--cpus 1"),
], ids=" ".join)
def test_combinations(refused, options, pattern):
    refused(USAGE, pattern, "--kernel", "k", *options)


def test_without_a_kernel(refused):
    for words in (["--initrd", "i"], ["--append", "a"]):
        assert words[0] in refused(USAGE, "give --kernel", *words)
        refused(USAGE, "give --kernel", *words, "--image", "f@0x8000", "--entry", "0x8000")


def test_linux_without_controllers(refused, file, tmp_path):
    for kernel in (file(kernels.bzimage(CODE)), kernels.assemble(tmp_path, 1, 64)):
        refused(USAGE, "--irqchip none leaves them out", "--kernel", kernel, "--irqchip", "none")
