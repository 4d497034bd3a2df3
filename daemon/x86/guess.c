/* SPDX-License-Identifier: MIT
 *
 * By the bytes that such files begin with, or have at a fixed place: the table is
 * looked through from top to bottom, so what is more special comes first. Sources:
 * the formats' own documents, and the kernel's Documentation/arch/ for its images.
 */
#include "config.h"

#include "guess.h"

#include <elf.h>
#include <string.h>

static const struct mark {
	size_t at;
	const char *bytes;
	size_t size;
	const char *what;
} marks[] = {
#define MARK(at, bytes, what)                      \
	{                                          \
		at, bytes, sizeof(bytes) - 1, what \
	}
    MARK(56, "ARM\x64", "a Linux image for arm64"),
    MARK(56, "RSC\x05", "a Linux image for RISC-V"),
    MARK(36, "\x18\x28\x6f\x01", "a Linux zImage for ARM"),
    MARK(4, "zimg", "an EFI image with a compressed kernel in it, as other machines boot"),
    MARK(0, "MZ", "a PE/EFI program without a Linux header"),
    MARK(0, "\x1f\x8b", "compressed by gzip; decompress it first"),
    MARK(0,
	 "\xfd"
	 "7zXZ",
	 "compressed by xz; decompress it first"),
    MARK(0, "\x28\xb5\x2f\xfd", "compressed by zstd; decompress it first"),
    MARK(0, "\x04\x22\x4d\x18", "compressed by lz4; decompress it first"),
    MARK(0, "\x02\x21\x4c\x18", "compressed by lz4 in its old format; decompress it first"),
    MARK(0, "BZh", "compressed by bzip2; decompress it first"),
    MARK(0, "\x5d\0\0", "compressed by lzma; decompress it first"),
    MARK(0, "\x89LZO", "compressed by lzop; decompress it first"),
    MARK(0, "\x27\x05\x19\x56", "a uImage of the U-Boot loader"),
    MARK(0, "\xd0\x0d\xfe\xed", "a device tree, or a FIT image of the U-Boot loader"),
    MARK(0, "07070", "an initramfs (cpio archive); that is for --initrd"),
    MARK(0, "\xc7\x71", "an initramfs (old cpio archive); that is for --initrd"),
    MARK(0, "QFI\xfb", "a qcow2 disk image"),
    MARK(0, "!<arch>\n", "an archive, such as a Debian package; unpack it first"),
    MARK(0, "#!", "a script"),
    MARK(510, "\x55\xaa", "a boot sector, or a Linux kernel too old to have a boot protocol"),
#undef MARK
};

static const struct {
	uint16_t machine;
	const char *name;
} machines[] = {
    {EM_386, "x86"},
    {EM_X86_64, "x86-64"},
    {EM_ARM, "ARM"},
    {EM_AARCH64, "AArch64"},
    {EM_RISCV, "RISC-V"},
    {EM_PPC, "PowerPC"},
    {EM_PPC64, "PowerPC 64"},
    {EM_S390, "S/390"},
    {EM_MIPS, "MIPS"},
    {EM_SPARC, "SPARC"},
    {EM_SPARCV9, "SPARC 64"},
    {EM_IA_64, "Itanium"},
    {EM_LOONGARCH, "LoongArch"},
    {EM_ALPHA, "Alpha"},
};

const char *guess_machine(uint16_t machine)
{
	for (unsigned i = 0; i < sizeof(machines) / sizeof(machines[0]); i++)
		if (machines[i].machine == machine)
			return machines[i].name;
	return NULL;
}

const char *guess_file(const uint8_t *bytes, size_t size)
{
	for (unsigned i = 0; i < sizeof(marks) / sizeof(marks[0]); i++) {
		const struct mark *m = &marks[i];
		if (size >= m->at + m->size && memcmp(bytes + m->at, m->bytes, m->size) == 0)
			return m->what;
	}
	return NULL;
}
