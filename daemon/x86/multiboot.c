/* SPDX-License-Identifier: MIT
 *
 * A Multiboot kernel is entered in 32-bit protected mode without paging, eax with a
 * magic number and ebx pointing to the structure below. Where to load it is taken
 * from the ELF, even if the header has addresses too (flag 16): they would say the
 * same. A file of 64 bits starts in 32 like any other.
 *
 * The specification leaves open what stands first in a command line. Here it is the
 * file's base name, as most loaders do it and kernels expect that skip a word. The
 * one module comes right behind the kernel: small kernels map little more than
 * themselves.
 */
#include "config.h"

#include "multiboot.h"

#include <string.h>

#include "boot.h"
#include "elf_image.h"
#include "kernel.h"
#include "layout.h"

#define HEADER_MAGIC 0x1badb002u
#define LOADER_MAGIC 0x2badb002u
#define SEARCHED 8192 /* bytes, 4-byte aligned: specification, 3.1 */

/* Of the header: the loader must know every flag up to 15. */
#define WANTS_ALIGNED_MODULES (1u << 0)
#define WANTS_MEMORY (1u << 1)
#define WANTS_VIDEO (1u << 2)
#define MUST_KNOW 0xffffu

/* Of the information. */
#define HAS_MEMORY (1u << 0)
#define HAS_CMDLINE (1u << 2)
#define HAS_MODULES (1u << 3)
#define HAS_MAP (1u << 6)
#define HAS_LOADER_NAME (1u << 9)

struct info {
	uint32_t flags, mem_lower, mem_upper; /* KiB */
	uint32_t boot_device, cmdline;
	uint32_t n_modules, modules;
	uint32_t symbols[4];
	uint32_t map_bytes, map;
	uint32_t drives_bytes, drives, config_table;
	uint32_t loader_name;
	uint32_t unused[13]; /* APM, VBE, frame buffer */
};

struct module {
	uint32_t from, to, text, reserved;
};

struct range {
	uint32_t bytes_behind; /* this field */
	uint64_t gpa, bytes;
	uint32_t type;
} __attribute__((packed));

struct page {
	struct info info;
	struct module module;
	struct range map[E820_MAX];
	char loader_name[32];
	char module_text[256]; /* NAME_MAX and its end */
};

bool multiboot_find(struct multiboot_header *ret, const uint8_t *bytes, size_t size)
{
	struct multiboot_header h;

	if (size > SEARCHED)
		size = SEARCHED;
	for (size_t at = 0; at + sizeof(h) <= size; at += 4) {
		memcpy(&h, bytes + at, sizeof(h));
		if (h.magic == HEADER_MAGIC && h.magic + h.flags + h.checksum == 0) {
			*ret = h;
			return true;
		}
	}
	return false;
}

static int check_header(const struct multiboot_header *h, struct fault *f)
{
	uint32_t unknown = h->flags & MUST_KNOW & ~(WANTS_ALIGNED_MODULES | WANTS_MEMORY);

	if (unknown & WANTS_VIDEO)
		return fault_set(f, STATUS_IMAGE,
				 "its Multiboot header asks for a video mode, and there is no "
				 "video");
	if (unknown != 0)
		return fault_set(f, STATUS_IMAGE,
				 "its Multiboot header has flags 0x%x, of which 0x%x are not known",
				 h->flags, unknown);
	return 0;
}

static uint32_t info_gpa(size_t offset)
{
	return (uint32_t)(X86_INFO + offset);
}

static void write_info(const struct kernel *k)
{
	struct page *p = (struct page *)kernel_info(k);

	*p = (struct page){
	    .info =
		{
		    .flags = HAS_MEMORY | HAS_CMDLINE | HAS_MODULES | HAS_MAP | HAS_LOADER_NAME,
		    .mem_lower = X86_LOW_END / 1024,
		    .mem_upper = (uint32_t)((k->memory->regions[0].size_bytes - X86_HIGH) / 1024),
		    .cmdline = X86_CMDLINE,
		    .n_modules = k->initrd_bytes > 0,
		    .modules = info_gpa(offsetof(struct page, module)),
		    .map_bytes = k->map.n * (uint32_t)sizeof(struct range),
		    .map = info_gpa(offsetof(struct page, map)),
		    .loader_name = info_gpa(offsetof(struct page, loader_name)),
		},
	    .module = {(uint32_t)k->initrd_gpa, (uint32_t)(k->initrd_gpa + k->initrd_bytes),
		       info_gpa(offsetof(struct page, module_text)), 0},
	    .loader_name = PACKAGE_STRING,
	};
	for (unsigned i = 0; i < k->map.n; i++)
		p->map[i] = (struct range){sizeof(p->map[i]) - sizeof(p->map[i].bytes_behind),
					   k->map.ranges[i].gpa, k->map.ranges[i].size,
					   k->map.ranges[i].type};
	if (k->initrd_bytes > 0)
		snprintf(p->module_text, sizeof(p->module_text), "%s",
			 kernel_base_name(k->options->initrd));
}

int multiboot_load(struct kernel *k, const struct elf *e, const struct multiboot_header *h,
		   struct x86_start *ret, struct fault *f)
{
	uint64_t entry = elf_physical(e, e->entry);

	if (check_header(h, f) < 0 || kernel_place_elf(k, e, f) < 0)
		return -1;
	if (entry < X86_CMDLINE_END || entry >= k->end)
		return fault_set(f, STATUS_IMAGE,
				 "its entry, 0x%llx, is not in anything that it loads",
				 (unsigned long long)e->entry);
	if (kernel_write_cmdline(k, kernel_base_name(k->options->kernel), UINT32_MAX, f) < 0 ||
	    kernel_load_initrd(k, KERNEL_BEHIND, UINT32_MAX, f) < 0)
		return -1;
	write_info(k);
	*ret = (struct x86_start){
	    .mode = BOOT_PROTECTED,
	    .entry = entry,
	    .code_selector = X86_CODE_SELECTOR,
	    .data_selector = X86_DATA_SELECTOR,
	    .cr0 = X86_CR0_FLAT,
	    .rax = LOADER_MAGIC,
	    .rbx = X86_INFO,
	};
	return 0;
}
