/* SPDX-License-Identifier: MIT
 *
 * The memory map that a kernel is given, in the terms of the BIOS call that all
 * boot protocols borrow from (ACPI 6.4, 15.4: address range types).
 */
#ifndef KVMCPUD_X86_E820_H
#define KVMCPUD_X86_E820_H

#include "memory.h"

#define E820_MAX 6

enum e820_type { E820_RAM = 1, E820_RESERVED = 2 };

struct e820_range {
	kvmcpu_gpa_t gpa;
	uint64_t size;
	enum e820_type type;
};

struct e820 {
	struct e820_range ranges[E820_MAX]; /* ascending, none overlaps */
	unsigned n;
};

void e820_make(struct e820 *ret, const struct memory *m);

#endif
