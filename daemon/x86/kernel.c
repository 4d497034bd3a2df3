/* SPDX-License-Identifier: MIT
 *
 * A file is one of three: a Linux bzImage, an ELF with a PVH entry, an ELF with a
 * Multiboot header. PVH comes first where an ELF has both: it is the one that
 * tells a kernel where its ACPI tables are.
 */
#include "config.h"

#include "kernel.h"

#include <stdlib.h>
#include <string.h>

#include "acpi.h"
#include "boot.h"
#include "bzimage.h"
#include "elf_image.h"
#include "guess.h"
#include "image.h"
#include "layout.h"
#include "multiboot.h"
#include "pvh.h"

#define MAX_KERNEL (2ull << 30) /* picked: beyond any kernel with its debug information */
#define PAGE 4096ull

static kvmcpu_gpa_t low_end(const struct kernel *k)
{
	return k->memory->regions[0].size_bytes;
}

static int need_memory(const struct kernel *k, const char *what, kvmcpu_gpa_t end, struct fault *f)
{
	unsigned long long mib = (end + (1 << 20) - 1) >> 20;

	if (end > 3ull << 30)
		return fault_set(f, STATUS_IMAGE,
				 "%s would reach to 0x%llx, and low RAM cannot reach beyond 3 GiB",
				 what, (unsigned long long)end);
	return fault_set(f, STATUS_IMAGE, "%s needs RAM up to 0x%llx; give --memory %lluM at least",
			 what, (unsigned long long)end, mib);
}

uint8_t *kernel_claim(struct kernel *k, kvmcpu_gpa_t gpa, uint64_t bytes, struct fault *f)
{
	kvmcpu_gpa_t end = gpa + bytes;

	if (gpa < X86_CMDLINE_END || (gpa < X86_HIGH && end > X86_LOW_END)) {
		fault_set(f, STATUS_IMAGE,
			  "it wants to be at 0x%llx-0x%llx; below 1 MiB only 0x%llx-0x%llx is free",
			  (unsigned long long)gpa, (unsigned long long)end - 1, X86_CMDLINE_END,
			  X86_LOW_END - 1);
		return NULL;
	}
	if (end > low_end(k)) {
		need_memory(k, "it", end, f);
		return NULL;
	}
	if (end > k->end)
		k->end = end;
	return memory_at(k->memory, gpa, bytes, true);
}

int kernel_place_elf(struct kernel *k, const struct elf *e, struct fault *f)
{
	for (unsigned i = 0; i < e->n; i++) {
		const struct elf_segment *s = &e->segments[i];
		uint8_t *at = kernel_claim(k, s->gpa, s->bytes, f);
		if (at == NULL)
			return -1;
		memcpy(at, k->bytes + s->offset, s->file_bytes);
	}
	return 0;
}

int kernel_load_initrd(struct kernel *k, enum kernel_side side, kvmcpu_gpa_t last, struct fault *f)
{
	const char *path = k->options->initrd;
	kvmcpu_gpa_t from = k->end < X86_HIGH ? X86_HIGH : (k->end + PAGE - 1) & ~(PAGE - 1);
	kvmcpu_gpa_t limit = low_end(k) - 1 < last ? low_end(k) : last + 1;
	int64_t size;

	if (path == NULL)
		return 0;
	size = image_size(path, f);
	if (size < 0)
		return -1;
	k->initrd_bytes = (uint64_t)size;
	if (from > limit || k->initrd_bytes > limit - from) {
		if (from <= last && k->initrd_bytes - 1 <= last - from)
			return need_memory(k, "with its initrd behind it, it",
					   from + k->initrd_bytes, f);
		return fault_set(f, STATUS_IMAGE,
				 "the initrd %s has %llu bytes, and the kernel takes none beyond "
				 "0x%llx",
				 path, (unsigned long long)size, (unsigned long long)last);
	}
	k->initrd_gpa = side == KERNEL_BEHIND ? from : (limit - k->initrd_bytes) & ~(PAGE - 1);
	return memory_load_file(k->memory, path, k->initrd_gpa, f);
}

int kernel_write_cmdline(const struct kernel *k, const char *first, uint64_t max, struct fault *f)
{
	const char *append = k->options->append != NULL ? k->options->append : "";
	char *at = (char *)memory_at(k->memory, X86_CMDLINE, X86_CMDLINE_END - X86_CMDLINE, true);
	const char *space = *first != '\0' && *append != '\0' ? " " : "";
	size_t size = strlen(first) + strlen(space) + strlen(append);

	if (max > X86_CMDLINE_END - X86_CMDLINE - 1)
		max = X86_CMDLINE_END - X86_CMDLINE - 1;
	if (size > max)
		return fault_set(f, STATUS_USAGE,
				 "its command line has %zu bytes, and it takes %llu at most; "
				 "shorten --append",
				 size, (unsigned long long)max);
	strcpy(stpcpy(stpcpy(at, first), space), append);
	return 0;
}

const char *kernel_base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

uint8_t *kernel_info(const struct kernel *k)
{
	return memory_at(k->memory, X86_INFO, X86_INFO_END - X86_INFO, true);
}

/* What a Linux kernel, or another by its protocols, cannot do without. */
static int check_irqchip(const struct kernel *k, struct fault *f)
{
	if (k->options->irqchip == KVMCPU_IRQCHIP_KERNEL)
		return 0;
	return fault_set(f, STATUS_USAGE,
			 "a Linux kernel needs a timer and interrupt controllers, and --irqchip "
			 "none leaves them out; only a Multiboot kernel may do without");
}

static int load_elf(struct kernel *k, struct x86_start *ret, struct fault *f)
{
	struct multiboot_header header;
	struct elf e;

	if (elf_parse(&e, k->bytes, k->size, f) < 0)
		return -1;
	if (e.has_pvh)
		return check_irqchip(k, f) < 0 ? -1 : pvh_load(k, &e, ret, f);
	if (multiboot_find(&header, k->bytes, k->size))
		return multiboot_load(k, &e, &header, ret, f);
	return fault_set(f, STATUS_IMAGE,
			 "it is an ELF for x86 with neither a PVH entry (Linux: CONFIG_PVH) nor a "
			 "Multiboot header");
}

static int load_any(struct kernel *k, struct x86_start *ret, struct fault *f)
{
	struct multiboot_header header;

	if (bzimage_is(k->bytes, k->size))
		return check_irqchip(k, f) < 0 ? -1 : bzimage_load(k, ret, f);
	if (elf_is(k->bytes, k->size))
		return load_elf(k, ret, f);
	if (multiboot_find(&header, k->bytes, k->size))
		return fault_set(f, STATUS_IMAGE,
				 "it has a Multiboot header and is no ELF; link it as one");
	const char *guess = guess_file(k->bytes, k->size);
	if (guess == NULL)
		return fault_set(f, STATUS_IMAGE, "it is neither a Linux bzImage nor an ELF");
	return fault_set(f, STATUS_IMAGE, "it seems to be %s", guess);
}

int x86_kernel_load(const struct options *o, const struct memory *m, struct x86_start *ret,
		    struct fault *f)
{
	struct kernel k = {.options = o, .memory = m};
	struct fault why;
	uint64_t size;
	uint8_t *bytes = image_take(o->kernel, MAX_KERNEL, &size, f);

	if (bytes == NULL)
		return -1;
	k.bytes = bytes;
	k.size = size;
	e820_make(&k.map, m);
	if (o->irqchip == KVMCPU_IRQCHIP_KERNEL)
		k.rsdp = acpi_write(m, o->cpus);
	int r = load_any(&k, ret, &why);
	free(bytes);
	if (r < 0)
		fault_set(f, why.status, "cannot start %s: %s", o->kernel, why.text);
	return r;
}
