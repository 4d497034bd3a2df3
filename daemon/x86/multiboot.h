/* SPDX-License-Identifier: MIT
 *
 * An ELF with a Multiboot 1 header, as small kernels and test kernels have (the
 * Multiboot Specification version 0.6.96).
 */
#ifndef KVMCPUD_X86_MULTIBOOT_H
#define KVMCPUD_X86_MULTIBOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"

struct elf;
struct kernel;
struct x86_start;

struct multiboot_header {
	uint32_t magic, flags, checksum;
};

/* Whether the file has one, with a right checksum. Pure. */
bool multiboot_find(struct multiboot_header *ret, const uint8_t *bytes, size_t size);
int multiboot_load(struct kernel *k, const struct elf *e, const struct multiboot_header *h,
		   struct x86_start *ret, struct fault *f);

#endif
