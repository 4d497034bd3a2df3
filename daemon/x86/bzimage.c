/* SPDX-License-Identifier: MIT
 *
 * A bzImage is a boot sector and some more sectors of 16-bit code, of which only
 * the header in them counts here, and then code that unpacks the kernel proper. It
 * is entered 0x200 bytes into that, in long mode with everything below 4 GiB mapped
 * to itself, and is told all it needs in a struct boot_params.
 *
 * It unpacks to pref_address or, where it was loaded higher, there, and needs
 * init_size bytes from there on; it may not be relocated below pref_address.
 */
#include "config.h"

#include "bzimage.h"

#include <stddef.h>
#include <string.h>

#include "boot.h"
#include "kernel.h"
#include "layout.h"

#define HEADER_AT 0x1f1 /* boot.rst: offset of setup_sects */
#define JUMP_AT 0x201	/* the jump's distance says where the header ends */
#define SECTOR 512
#define MAGIC 0x53726448  /* "HdrS" */
#define VERSION_64 0x020c /* the first with xloadflags */
#define ENTRY_64 0x200	  /* behind the beginning of the 64-bit part */
#define BOOT_CS 0x10	  /* boot.rst: __BOOT_CS and __BOOT_DS */
#define BOOT_DS 0x18
#define LOADER_UNKNOWN 0xff
#define VIDEO_NORMAL 0xffff

bool bzimage_is(const uint8_t *bytes, size_t size)
{
	uint32_t magic;

	if (size < JUMP_AT + 1 + sizeof(magic))
		return false;
	memcpy(&magic, bytes + HEADER_AT + offsetof(struct setup_header, header), sizeof(magic));
	return magic == MAGIC;
}

static int take_header(struct bzimage *b, const uint8_t *bytes, size_t size, struct fault *f)
{
	size_t end = JUMP_AT + 1 + bytes[JUMP_AT];
	size_t room = end - HEADER_AT < sizeof(b->header) ? end - HEADER_AT : sizeof(b->header);

	if (end > size)
		return fault_set(f, STATUS_IMAGE, "it is a bzImage truncated within its header");
	memcpy(&b->header, bytes + HEADER_AT, room);
	if (b->header.version < VERSION_64)
		return fault_set(
		    f, STATUS_IMAGE,
		    "it is a Linux kernel with boot protocol %u.%02u; 2.12 (Linux 3.8) "
		    "is needed",
		    b->header.version >> 8, b->header.version & 0xffu);
	if ((b->header.xloadflags & XLF_KERNEL_64) == 0)
		return fault_set(f, STATUS_IMAGE,
				 "it is a 32-bit Linux kernel, or one without a 64-bit entry");
	return 0;
}

static int take_payload(struct bzimage *b, size_t size, struct fault *f)
{
	uint64_t sectors = b->header.setup_sects != 0 ? b->header.setup_sects : 4; /* boot.rst */
	uint64_t rounded = (uint64_t)b->header.syssize * 16;

	b->offset = (sectors + 1) * SECTOR;
	/* syssize is rounded up to 16 bytes, which the file need not have. */
	if (size <= b->offset + ENTRY_64 || size - b->offset + 15 < rounded)
		return fault_set(f, STATUS_IMAGE,
				 "it is a truncated bzImage: its header promises %llu bytes, the "
				 "file has %zu",
				 (unsigned long long)(b->offset + rounded), size);
	b->bytes = size - b->offset < rounded ? size - b->offset : rounded;
	if (b->bytes <= ENTRY_64)
		return fault_set(f, STATUS_IMAGE, "it is a bzImage with nothing behind its header");
	return 0;
}

static bool is_power_of_2(uint64_t value)
{
	return value != 0 && (value & (value - 1)) == 0;
}

static int take_place(struct bzimage *b, struct fault *f)
{
	const struct setup_header *h = &b->header;

	b->run_gpa = h->pref_address;
	b->load_gpa = h->relocatable_kernel ? h->pref_address : h->code32_start;
	if (h->init_size == 0 || b->run_gpa > UINT32_MAX || !is_power_of_2(h->kernel_alignment) ||
	    b->run_gpa % h->kernel_alignment != 0)
		return fault_set(f, STATUS_IMAGE,
				 "it is a bzImage whose header has impossible values (pref_address "
				 "0x%llx, init_size 0x%x, kernel_alignment 0x%x)",
				 (unsigned long long)h->pref_address, h->init_size,
				 h->kernel_alignment);
	return 0;
}

int bzimage_parse(struct bzimage *ret, const uint8_t *bytes, size_t size, struct fault *f)
{
	*ret = (struct bzimage){0};
	if (!bzimage_is(bytes, size))
		return fault_set(f, STATUS_IMAGE, "it is no bzImage");
	if (take_header(ret, bytes, size, f) < 0 || take_payload(ret, size, f) < 0)
		return -1;
	return take_place(ret, f);
}

static void write_params(const struct kernel *k, const struct bzimage *b)
{
	struct boot_params *p = (struct boot_params *)kernel_info(k);

	*p = (struct boot_params){.hdr = b->header, .acpi_rsdp_addr = k->rsdp};
	p->hdr.type_of_loader = LOADER_UNKNOWN;
	p->hdr.vid_mode = VIDEO_NORMAL;
	p->hdr.loadflags |= LOADED_HIGH;
	p->hdr.code32_start = (uint32_t)b->load_gpa;
	p->hdr.cmd_line_ptr = X86_CMDLINE;
	p->hdr.ramdisk_image = (uint32_t)k->initrd_gpa;
	p->hdr.ramdisk_size = (uint32_t)k->initrd_bytes;
	for (unsigned i = 0; i < k->map.n; i++)
		p->e820_table[i] = (struct boot_e820_entry){
		    k->map.ranges[i].gpa, k->map.ranges[i].size, k->map.ranges[i].type};
	p->e820_entries = (uint8_t)k->map.n;
}

int bzimage_load(struct kernel *k, struct x86_start *ret, struct fault *f)
{
	struct bzimage b;
	uint8_t *at;

	if (bzimage_parse(&b, k->bytes, k->size, f) < 0)
		return -1;
	/* First what it will take, which is the larger part and names the memory it needs. */
	if (kernel_claim(k, b.run_gpa, b.header.init_size, f) == NULL ||
	    (at = kernel_claim(k, b.load_gpa, b.bytes, f)) == NULL)
		return -1;
	if (kernel_write_cmdline(k, "", b.header.cmdline_size, f) < 0 ||
	    kernel_load_initrd(k, KERNEL_HIGH, b.header.initrd_addr_max, f) < 0)
		return -1;
	memcpy(at, k->bytes + b.offset, b.bytes);
	write_params(k, &b);
	*ret = (struct x86_start){
	    .mode = BOOT_LONG,
	    .entry = b.load_gpa + ENTRY_64,
	    .code_selector = BOOT_CS,
	    .data_selector = BOOT_DS,
	    .cr0 = X86_CR0_FLAT,
	    .rsi = X86_INFO,
	};
	return 0;
}
