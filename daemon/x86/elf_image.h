/* SPDX-License-Identifier: MIT
 *
 * What a boot loader wants to know of an ELF file of either size: what to load
 * where, and the entry that Xen's note gives for PVH. Pure; the file's bytes are
 * not trusted.
 */
#ifndef KVMCPUD_X86_ELF_IMAGE_H
#define KVMCPUD_X86_ELF_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"

#define ELF_MAX_SEGMENTS 32 /* picked, not tuned: Linux has 5 */

struct elf_segment {
	uint64_t offset, file_bytes; /* within the file, checked */
	uint64_t gpa, vaddr, bytes; /* in memory; bytes >= file_bytes, gpa + bytes is no overflow */
};

struct elf {
	struct elf_segment segments[ELF_MAX_SEGMENTS];
	unsigned n;
	uint64_t entry; /* as the file has it: virtual */
	bool has_pvh;
	uint64_t pvh_entry; /* physical */
};

/* Whether it begins like an ELF of any kind. */
bool elf_is(const uint8_t *bytes, size_t size);
/* -1 with fault set, without the file's name, for one that is malformed or not
 * for this machine. */
int elf_parse(struct elf *ret, const uint8_t *bytes, size_t size, struct fault *f);
/* Where a virtual address is loaded to; the address itself if nowhere. */
uint64_t elf_physical(const struct elf *e, uint64_t vaddr);

#endif
