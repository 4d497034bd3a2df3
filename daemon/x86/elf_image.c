/* SPDX-License-Identifier: MIT
 *
 * Only program headers count; section headers are for linkers, and a stripped
 * kernel may have none. 32-bit headers are widened first, so that the rest knows
 * one size. Structures are copied out, since nothing aligns them in the file.
 */
#include "config.h"

#include "elf_image.h"

#include <elf.h>
#include <string.h>

#include "guess.h"

/* Xen's public header elfnote.h, XEN_ELFNOTE_PHYS32_ENTRY. */
#define NOTE_PHYS32_ENTRY 18

struct headers {
	uint64_t entry, phoff;
	uint16_t phnum, phentsize, want_phentsize;
	bool is_64;
};

static bool inside(uint64_t offset, uint64_t bytes, uint64_t size)
{
	return offset <= size && bytes <= size - offset;
}

bool elf_is(const uint8_t *bytes, size_t size)
{
	return size >= SELFMAG && memcmp(bytes, ELFMAG, SELFMAG) == 0;
}

static int refuse_machine(uint16_t machine, struct fault *f)
{
	const char *name = guess_machine(machine);

	if (name == NULL)
		return fault_set(f, STATUS_IMAGE,
				 "it is an ELF for another machine, number %u; x86 is needed",
				 machine);
	return fault_set(f, STATUS_IMAGE, "it is an ELF for %s; x86 is needed", name);
}

/* Whose it is can be read from the first 20 bytes, before all else is trusted. */
static int check_ident(const uint8_t *bytes, size_t size, struct fault *f)
{
	uint16_t machine;

	if (size < offsetof(Elf32_Ehdr, e_version))
		return fault_set(f, STATUS_IMAGE, "it is a truncated ELF");
	memcpy(&machine, bytes + offsetof(Elf32_Ehdr, e_machine), sizeof(machine));
	if (bytes[EI_DATA] == ELFDATA2MSB)
		return refuse_machine(__builtin_bswap16(machine), f);
	if (machine != EM_386 && machine != EM_X86_64)
		return refuse_machine(machine, f);
	if (bytes[EI_DATA] != ELFDATA2LSB || bytes[EI_VERSION] != EV_CURRENT ||
	    (bytes[EI_CLASS] != ELFCLASS32 && bytes[EI_CLASS] != ELFCLASS64))
		return fault_set(f, STATUS_IMAGE, "it is an ELF with a damaged header");
	return 0;
}

static int read_headers(struct headers *ret, const uint8_t *bytes, size_t size, struct fault *f)
{
	Elf32_Ehdr small;
	Elf64_Ehdr large;

	if (check_ident(bytes, size, f) < 0)
		return -1;
	bool is_64 = bytes[EI_CLASS] == ELFCLASS64;
	if (size < (is_64 ? sizeof(large) : sizeof(small)))
		return fault_set(f, STATUS_IMAGE, "it is a truncated ELF");
	if (is_64) {
		memcpy(&large, bytes, sizeof(large));
		*ret = (struct headers){large.e_entry,	   large.e_phoff,      large.e_phnum,
					large.e_phentsize, sizeof(Elf64_Phdr), true};
	} else {
		memcpy(&small, bytes, sizeof(small));
		*ret = (struct headers){small.e_entry,	   small.e_phoff,      small.e_phnum,
					small.e_phentsize, sizeof(Elf32_Phdr), false};
	}
	if (ret->phnum == 0)
		return fault_set(f, STATUS_IMAGE,
				 "it is an ELF with nothing to load, such as an object file");
	if (ret->phentsize != ret->want_phentsize || ret->phnum == PN_XNUM)
		return fault_set(f, STATUS_IMAGE, "it is an ELF with a damaged header");
	if (!inside(ret->phoff, (uint64_t)ret->phnum * ret->phentsize, size))
		return fault_set(
		    f, STATUS_IMAGE,
		    "it is a truncated ELF: its program headers end at %llu, the file "
		    "has %zu bytes",
		    (unsigned long long)(ret->phoff + (uint64_t)ret->phnum * ret->phentsize), size);
	return 0;
}

static Elf64_Phdr program_header(const struct headers *h, const uint8_t *bytes, unsigned i)
{
	const uint8_t *at = bytes + h->phoff + (size_t)i * h->phentsize;
	Elf64_Phdr large;
	Elf32_Phdr small;

	if (h->is_64) {
		memcpy(&large, at, sizeof(large));
		return large;
	}
	memcpy(&small, at, sizeof(small));
	return (Elf64_Phdr){
	    .p_type = small.p_type,
	    .p_offset = small.p_offset,
	    .p_vaddr = small.p_vaddr,
	    .p_paddr = small.p_paddr,
	    .p_filesz = small.p_filesz,
	    .p_memsz = small.p_memsz,
	    .p_align = small.p_align,
	};
}

static int add_segment(struct elf *e, const Elf64_Phdr *p, struct fault *f)
{
	if (p->p_memsz == 0)
		return 0;
	if (p->p_filesz > p->p_memsz || p->p_memsz > UINT64_MAX - p->p_paddr)
		return fault_set(f, STATUS_IMAGE, "it is an ELF with a damaged program header");
	if (e->n == ELF_MAX_SEGMENTS)
		return fault_set(f, STATUS_IMAGE, "it is an ELF with more than %d segments to load",
				 ELF_MAX_SEGMENTS);
	e->segments[e->n++] = (struct elf_segment){
	    p->p_offset, p->p_filesz, p->p_paddr, p->p_vaddr, p->p_memsz,
	};
	return 0;
}

static uint64_t align_up(uint64_t value, uint64_t to)
{
	return (value + to - 1) & ~(to - 1);
}

/* The entry that a note gives, which has 4 or 8 bytes. */
static void take_note(struct elf *e, const Elf64_Nhdr *n, const uint8_t *name, const uint8_t *desc)
{
	if (n->n_type != NOTE_PHYS32_ENTRY || n->n_namesz != sizeof("Xen") ||
	    memcmp(name, "Xen", sizeof("Xen")) != 0)
		return;
	if (n->n_descsz != 4 && n->n_descsz != 8)
		return;
	e->pvh_entry = 0;
	memcpy(&e->pvh_entry, desc, n->n_descsz);
	e->has_pvh = true;
}

/* What comes after a note that reaches past the end is not looked at. */
static void take_notes(struct elf *e, const uint8_t *at, uint64_t size, uint64_t align)
{
	Elf64_Nhdr n; /* the same for both sizes */

	for (uint64_t pos = 0; inside(pos, sizeof(n), size);) {
		memcpy(&n, at + pos, sizeof(n));
		uint64_t name = pos + sizeof(n);
		uint64_t desc = align_up(name + n.n_namesz, align);
		if (!inside(name, n.n_namesz, size) || !inside(desc, n.n_descsz, size))
			return;
		take_note(e, &n, at + name, at + desc);
		pos = align_up(desc + n.n_descsz, align);
	}
}

int elf_parse(struct elf *ret, const uint8_t *bytes, size_t size, struct fault *f)
{
	struct headers h = {0};

	*ret = (struct elf){0};
	if (read_headers(&h, bytes, size, f) < 0)
		return -1;
	ret->entry = h.entry;
	for (unsigned i = 0; i < h.phnum; i++) {
		Elf64_Phdr p = program_header(&h, bytes, i);
		if (p.p_type != PT_LOAD && p.p_type != PT_NOTE)
			continue;
		if (!inside(p.p_offset, p.p_filesz, size))
			return fault_set(f, STATUS_IMAGE,
					 "it is a truncated ELF: a segment of %llu bytes begins at "
					 "%llu, the file has %zu bytes",
					 (unsigned long long)p.p_filesz,
					 (unsigned long long)p.p_offset, size);
		if (p.p_type == PT_NOTE)
			take_notes(ret, bytes + p.p_offset, p.p_filesz, p.p_align == 8 ? 8 : 4);
		else if (add_segment(ret, &p, f) < 0)
			return -1;
	}
	if (ret->n == 0)
		return fault_set(f, STATUS_IMAGE, "it is an ELF with nothing to load");
	return 0;
}

uint64_t elf_physical(const struct elf *e, uint64_t vaddr)
{
	for (unsigned i = 0; i < e->n; i++) {
		const struct elf_segment *s = &e->segments[i];
		if (vaddr >= s->vaddr && vaddr - s->vaddr < s->bytes)
			return s->gpa + (vaddr - s->vaddr);
	}
	return vaddr;
}
