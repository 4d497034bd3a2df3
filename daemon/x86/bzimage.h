/* SPDX-License-Identifier: MIT
 *
 * A Linux bzImage, by the 64-bit boot protocol (the kernel's
 * Documentation/arch/x86/boot.rst).
 */
#ifndef KVMCPUD_X86_BZIMAGE_H
#define KVMCPUD_X86_BZIMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <asm/bootparam.h>

#include "fault.h"
#include "types.h"

struct kernel;
struct x86_start;

struct bzimage {
	struct setup_header header; /* as far as the file has one; zeros beyond */
	uint64_t offset, bytes;	    /* the 64-bit part within the file, checked */
	kvmcpu_gpa_t load_gpa;	    /* where it goes */
	kvmcpu_gpa_t run_gpa;	    /* where it will unpack itself, with header.init_size bytes */
};

/* Whether it has a Linux header, of whatever version. */
bool bzimage_is(const uint8_t *bytes, size_t size);
/* -1 with fault set, without the file's name. Pure. */
int bzimage_parse(struct bzimage *ret, const uint8_t *bytes, size_t size, struct fault *f);
int bzimage_load(struct kernel *k, struct x86_start *ret, struct fault *f);

#endif
