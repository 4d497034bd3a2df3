/* SPDX-License-Identifier: MIT
 *
 * Starting a kernel: --kernel, --initrd and --append. Which kind of file it is
 * decides by which protocol it is loaded and started; each protocol has a file of
 * its own, with the parsing apart from the placing, and shares what is below.
 */
#ifndef KVMCPUD_X86_KERNEL_H
#define KVMCPUD_X86_KERNEL_H

#include "e820.h"
#include "options.h"

struct elf;
struct x86_start;

struct kernel {
	const struct options *options; /* borrowed, with all their strings */
	const struct memory *memory;   /* borrowed */
	const uint8_t *bytes;	       /* the file */
	size_t size;
	struct e820 map;
	kvmcpu_gpa_t rsdp; /* 0 without ACPI tables */

	/* kernel_claim's */
	kvmcpu_gpa_t end; /* of the kernel, 0 before it is known */
	/* kernel_load_initrd's; 0 without one */
	kvmcpu_gpa_t initrd_gpa;
	uint64_t initrd_bytes;
};

/* Loads what options name into memory, and says how the first vCPU starts. -1 with
 * fault set if that cannot be. */
int x86_kernel_load(const struct options *o, const struct memory *m, struct x86_start *ret,
		    struct fault *f);

/* The rest is for the protocols. Faults do not name the kernel's file; who calls
 * them puts that in front.
 *
 * Says that the kernel takes bytes at gpa. A fault if that is not in the low RAM
 * that is free for it; else where it is. */
uint8_t *kernel_claim(struct kernel *k, kvmcpu_gpa_t gpa, uint64_t bytes, struct fault *f);

/* Claims and copies an ELF's segments. What the file leaves out stays zero, as RAM
 * is when a VM is made. */
int kernel_place_elf(struct kernel *k, const struct elf *e, struct fault *f);

/* Reads the initrd to a page of RAM behind the kernel: as high as it fits with its
 * last byte at most at last, or right behind the kernel. Nothing to do without
 * one. */
enum kernel_side { KERNEL_HIGH, KERNEL_BEHIND };
int kernel_load_initrd(struct kernel *k, enum kernel_side side, kvmcpu_gpa_t last, struct fault *f);

/* Writes a command line, whose two parts may be empty, to X86_CMDLINE. A fault if
 * it has more than max bytes, or than fit there. */
int kernel_write_cmdline(const struct kernel *k, const char *first, uint64_t max, struct fault *f);

/* The last part of a path. */
const char *kernel_base_name(const char *path);

/* The boot protocols' structures, all in RAM from X86_INFO on. */
uint8_t *kernel_info(const struct kernel *k);

#endif
