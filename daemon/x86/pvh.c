/* SPDX-License-Identifier: MIT
 *
 * A PVH kernel is entered at the physical address that its note gives, in 32-bit
 * protected mode without paging, with ebx pointing to the structure below. The
 * numbers of its memory types are e820's.
 */
#include "config.h"

#include "pvh.h"

#include <string.h>

#include "boot.h"
#include "elf_image.h"
#include "kernel.h"
#include "layout.h"

#define START_MAGIC 0x336ec578 /* "xEn3" with the high bit of the E set */
#define START_VERSION 1	       /* the first with a memory map */
#define MAX_CMDLINE 2047       /* what Linux takes; the protocol says nothing */

struct start_info {
	uint32_t magic, version, flags, n_modules;
	uint64_t modules, cmdline, rsdp, map;
	uint32_t n_map, reserved;
};

struct start_module {
	uint64_t gpa, bytes, cmdline, reserved;
};

struct start_range {
	uint64_t gpa, bytes;
	uint32_t type, reserved;
};

struct start_page {
	struct start_info info;
	struct start_module module;
	struct start_range map[E820_MAX];
};

static void write_info(const struct kernel *k)
{
	struct start_page *p = (struct start_page *)kernel_info(k);

	*p = (struct start_page){
	    .info =
		{
		    .magic = START_MAGIC,
		    .version = START_VERSION,
		    .n_modules = k->initrd_bytes > 0,
		    .modules = X86_INFO + offsetof(struct start_page, module),
		    .cmdline = X86_CMDLINE,
		    .rsdp = k->rsdp,
		    .map = X86_INFO + offsetof(struct start_page, map),
		    .n_map = k->map.n,
		},
	    .module = {.gpa = k->initrd_gpa, .bytes = k->initrd_bytes},
	};
	for (unsigned i = 0; i < k->map.n; i++)
		p->map[i] = (struct start_range){k->map.ranges[i].gpa, k->map.ranges[i].size,
						 k->map.ranges[i].type, 0};
}

int pvh_load(struct kernel *k, const struct elf *e, struct x86_start *ret, struct fault *f)
{
	if (kernel_place_elf(k, e, f) < 0)
		return -1;
	if (e->pvh_entry < X86_CMDLINE_END || e->pvh_entry >= k->end)
		return fault_set(f, STATUS_IMAGE,
				 "its PVH entry, 0x%llx, is not in anything that it loads",
				 (unsigned long long)e->pvh_entry);
	if (kernel_write_cmdline(k, "", MAX_CMDLINE, f) < 0 ||
	    kernel_load_initrd(k, KERNEL_HIGH, UINT32_MAX, f) < 0)
		return -1;
	write_info(k);
	*ret = (struct x86_start){
	    .mode = BOOT_PROTECTED,
	    .entry = e->pvh_entry,
	    .code_selector = X86_CODE_SELECTOR,
	    .data_selector = X86_DATA_SELECTOR,
	    .cr0 = X86_CR0_PE | X86_CR0_ET, /* pvh.pandoc: all that can be 0 is */
	    .rbx = X86_INFO,
	};
	return 0;
}
