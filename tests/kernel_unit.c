/* SPDX-License-Identifier: MIT
 *
 * What reads a kernel's file: made-up headers, cut off at every byte, and with
 * every field at its extremes. The bytes lie at the end of their own allocation, so
 * that a sanitizer sees a read beyond; and whatever is taken for good lies within
 * the file.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <elf.h>

#include "x86/bzimage.h"
#include "x86/elf_image.h"
#include "x86/guess.h"
#include "x86/multiboot.h"

#define NOTE_PHYS32_ENTRY 18

/* A copy of exactly size bytes; the caller frees. */
static uint8_t *cut(const void *bytes, size_t size)
{
	uint8_t *copy = malloc(size > 0 ? size : 1);

	assert_non_null(copy);
	memcpy(copy, bytes, size);
	return copy;
}

/* ---- ELF ---- */

struct xen_note {
	Elf64_Nhdr head;
	char name[4];
	uint64_t entry;
};

struct small_elf {
	Elf64_Ehdr head;
	Elf64_Phdr program[3];
	struct xen_note note;
	uint8_t code[16];
};

static const struct small_elf good_elf = {
    .head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
	     .e_type = ET_EXEC,
	     .e_machine = EM_X86_64,
	     .e_entry = 0xffffffff80000004,
	     .e_phoff = offsetof(struct small_elf, program),
	     .e_phentsize = sizeof(Elf64_Phdr),
	     .e_phnum = 3},
    .program = {{.p_type = PT_NOTE,
		 .p_offset = offsetof(struct small_elf, note),
		 .p_filesz = sizeof(struct xen_note),
		 .p_align = 4},
		{.p_type = PT_LOAD,
		 .p_offset = offsetof(struct small_elf, code),
		 .p_vaddr = 0xffffffff80000000,
		 .p_paddr = 0x200000,
		 .p_filesz = 16,
		 .p_memsz = 4096},
		{.p_type = PT_GNU_STACK}},
    .note = {{.n_namesz = 4, .n_descsz = 8, .n_type = NOTE_PHYS32_ENTRY}, "Xen", 0x200008},
};

/* Whatever is taken lies within the file and does not wrap around. */
static int parse_elf(const void *bytes, size_t size, struct elf *ret)
{
	uint8_t *copy = cut(bytes, size);
	struct fault f = {0};
	int r = elf_is(copy, size) ? elf_parse(ret, copy, size, &f) : -1;

	free(copy);
	if (r < 0)
		return -1;
	assert_in_range(ret->n, 1, ELF_MAX_SEGMENTS);
	for (unsigned i = 0; i < ret->n; i++) {
		const struct elf_segment *s = &ret->segments[i];
		assert_true(s->offset <= size && s->file_bytes <= size - s->offset);
		assert_true(s->file_bytes <= s->bytes && s->gpa + s->bytes >= s->gpa);
	}
	return 0;
}

static void elf_good(void **state)
{
	struct elf e;

	assert_int_equal(parse_elf(&good_elf, sizeof(good_elf), &e), 0);
	assert_int_equal(e.n, 1);
	assert_int_equal(e.segments[0].gpa, 0x200000);
	assert_int_equal(e.segments[0].bytes, 4096);
	assert_true(e.has_pvh);
	assert_int_equal(e.pvh_entry, 0x200008);
	assert_int_equal(elf_physical(&e, e.entry), 0x200004);
	assert_int_equal(elf_physical(&e, 0xffffffff80000fff), 0x200fff);
	assert_int_equal(elf_physical(&e, 0x1234), 0x1234);
}

static void elf_cut_off(void **state)
{
	struct elf e;

	for (size_t size = 0; size < sizeof(good_elf); size++)
		assert_int_equal(parse_elf(&good_elf, size, &e), -1);
}

static void elf_of_32_bits(void **state)
{
	struct {
		Elf32_Ehdr head;
		Elf32_Phdr program;
	} small = {
	    .head = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
		     .e_machine = EM_386,
		     .e_entry = 0x100010,
		     .e_phoff = sizeof(Elf32_Ehdr),
		     .e_phentsize = sizeof(Elf32_Phdr),
		     .e_phnum = 1},
	    .program = {.p_type = PT_LOAD, .p_paddr = 0x100000, .p_vaddr = 0x100000, .p_memsz = 64},
	};
	struct elf e;

	assert_int_equal(parse_elf(&small, sizeof(small), &e), 0);
	assert_int_equal(e.entry, 0x100010);
	assert_false(e.has_pvh);
	for (size_t size = 0; size < sizeof(small); size++)
		assert_int_equal(parse_elf(&small, size, &e), -1);
}

/* Each byte at each of some values, alone and with its neighbours. */
static void elf_any_byte(void **state)
{
	static const uint8_t values[] = {0, 1, 2, 4, 0x7f, 0x80, 0xff};
	struct elf e;

	for (size_t at = 0; at < sizeof(good_elf); at++) {
		for (size_t width = 1; width <= 8 && at + width <= sizeof(good_elf); width *= 2) {
			for (size_t i = 0; i < sizeof(values); i++) {
				struct small_elf bad = good_elf;
				memset((uint8_t *)&bad + at, values[i], width);
				parse_elf(&bad, sizeof(bad), &e);
			}
		}
	}
}

static void elf_hostile(void **state)
{
	static const struct {
		size_t at, width;
		uint64_t value;
	} changes[] = {
#define CHANGE(field, value) {offsetof(struct small_elf, field), sizeof(good_elf.field), value}
	    CHANGE(head.e_phnum, 0),
	    CHANGE(head.e_phnum, 4000),
	    CHANGE(head.e_phnum, PN_XNUM),
	    CHANGE(head.e_phentsize, 0),
	    CHANGE(head.e_phentsize, sizeof(Elf64_Phdr) - 1),
	    CHANGE(head.e_phoff, UINT64_MAX),
	    CHANGE(head.e_phoff, UINT64_MAX - sizeof(Elf64_Phdr) + 1),
	    CHANGE(head.e_phoff, sizeof(struct small_elf)),
	    CHANGE(program[0].p_offset, UINT64_MAX),
	    CHANGE(program[0].p_filesz, UINT64_MAX),
	    CHANGE(program[1].p_offset, UINT64_MAX - 15),
	    CHANGE(program[1].p_offset, sizeof(struct small_elf) - 15),
	    CHANGE(program[1].p_filesz, UINT64_MAX),
	    CHANGE(program[1].p_filesz, 17),
	    CHANGE(program[1].p_memsz, 15),
	    CHANGE(program[1].p_memsz, UINT64_MAX),
	    CHANGE(program[1].p_paddr, UINT64_MAX - 4094),
	    CHANGE(program[1].p_memsz, 0),
#undef CHANGE
	};
	struct elf e;

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		struct small_elf bad = good_elf;
		memcpy((uint8_t *)&bad + changes[i].at, &changes[i].value, changes[i].width);
		assert_int_equal(parse_elf(&bad, sizeof(bad), &e), -1);
	}
}

/* A damaged note is no entry, and no reason to refuse a file that has others. */
static void elf_notes(void **state)
{
	struct small_elf bad;
	struct elf e;

#define NO_ENTRY(field, value)                                         \
	do {                                                           \
		bad = good_elf;                                        \
		bad.field = value;                                     \
		assert_int_equal(parse_elf(&bad, sizeof(bad), &e), 0); \
		assert_false(e.has_pvh);                               \
	} while (0)
	NO_ENTRY(note.head.n_namesz, UINT32_MAX);
	NO_ENTRY(note.head.n_namesz, 0);
	NO_ENTRY(note.head.n_descsz, UINT32_MAX);
	NO_ENTRY(note.head.n_descsz, 9);
	NO_ENTRY(note.head.n_descsz, 2);
	NO_ENTRY(note.head.n_type, 17);
	NO_ENTRY(note.name[0], 'Y');
	NO_ENTRY(program[0].p_filesz, sizeof(struct xen_note) - 1);
#undef NO_ENTRY
	bad = good_elf; /* an entry of 4 bytes, as 32-bit kernels have it */
	bad.note.head.n_descsz = 4;
	assert_int_equal(parse_elf(&bad, sizeof(bad), &e), 0);
	assert_int_equal(e.pvh_entry, 0x200008);
}

static void elf_too_many(void **state)
{
	struct {
		Elf64_Ehdr head;
		Elf64_Phdr program[ELF_MAX_SEGMENTS + 1];
	} many = {.head = good_elf.head};
	struct elf e;

	many.head.e_phnum = ELF_MAX_SEGMENTS;
	for (unsigned i = 0; i <= ELF_MAX_SEGMENTS; i++)
		many.program[i] = (Elf64_Phdr){.p_type = PT_LOAD, .p_paddr = i, .p_memsz = 1};
	assert_int_equal(parse_elf(&many, sizeof(many), &e), 0);
	assert_int_equal(e.n, ELF_MAX_SEGMENTS);
	many.head.e_phnum++;
	assert_int_equal(parse_elf(&many, sizeof(many), &e), -1);
}

/* ---- bzImage ---- */

#define SETUP_AT 0x1f1
#define CODE_BYTES 0x400

struct image {
	uint8_t bytes[2 * 512 + CODE_BYTES];
};

static struct setup_header *header_of(struct image *i)
{
	return (struct setup_header *)(i->bytes + SETUP_AT);
}

static struct image good_image(void)
{
	struct image i = {0};

	*header_of(&i) = (struct setup_header){
	    .setup_sects = 1,
	    .syssize = CODE_BYTES / 16,
	    .jump = 0x66eb, /* the header ends at 0x268 */
	    .header = 0x53726448,
	    .version = 0x020c,
	    .kernel_alignment = 0x200000,
	    .relocatable_kernel = 1,
	    .xloadflags = XLF_KERNEL_64,
	    .pref_address = 0x1000000,
	    .init_size = 0x10000,
	};
	return i;
}

static int parse_image(const struct image *i, size_t size, struct bzimage *ret)
{
	uint8_t *copy = cut(i->bytes, size);
	struct fault f = {0};
	int r = bzimage_parse(ret, copy, size, &f);

	free(copy);
	if (r == 0) {
		assert_true(ret->offset <= size && ret->bytes <= size - ret->offset);
		assert_true(ret->run_gpa <= UINT32_MAX && ret->header.init_size > 0);
	}
	return r;
}

static void bzimage_good(void **state)
{
	struct image i = good_image();
	struct bzimage b;

	assert_int_equal(parse_image(&i, sizeof(i), &b), 0);
	assert_int_equal(b.offset, 1024);
	assert_int_equal(b.bytes, CODE_BYTES);
	assert_int_equal(b.load_gpa, 0x1000000);
	/* syssize may be rounded up. */
	assert_int_equal(parse_image(&i, sizeof(i) - 15, &b), 0);
	assert_int_equal(b.bytes, CODE_BYTES - 15);
	header_of(&i)->relocatable_kernel = 0;
	header_of(&i)->code32_start = 0x100000;
	assert_int_equal(parse_image(&i, sizeof(i), &b), 0);
	assert_int_equal(b.load_gpa, 0x100000);
	assert_int_equal(b.run_gpa, 0x1000000);
}

static void bzimage_cut_off(void **state)
{
	struct image i = good_image();
	struct bzimage b;

	for (size_t size = 0; size <= sizeof(i) - 16; size++)
		assert_int_equal(parse_image(&i, size, &b), -1);
}

/* What lies behind the header's own end is not taken for a part of it. */
static void bzimage_short_header(void **state)
{
	struct image i = good_image();
	struct bzimage b;

	header_of(&i)->jump = 0x60eb; /* to 0x262, in the middle of init_size */
	assert_int_equal(parse_image(&i, sizeof(i), &b), -1);
	header_of(&i)->init_size = 0x12345;
	assert_int_equal(parse_image(&i, sizeof(i), &b), 0);
	assert_int_equal(b.header.init_size, 0x2345);
}

static void bzimage_any_byte(void **state)
{
	static const uint8_t values[] = {0, 1, 2, 0x7f, 0x80, 0xff};
	const struct image good = good_image();
	struct bzimage b;

	for (size_t at = SETUP_AT; at < SETUP_AT + sizeof(struct setup_header); at++) {
		for (size_t width = 1; width <= 8; width *= 2) {
			for (size_t i = 0; i < sizeof(values); i++) {
				struct image bad = good;
				memset(bad.bytes + at, values[i], width);
				parse_image(&bad, sizeof(bad), &b);
			}
		}
	}
}

/* ---- Multiboot and the rest ---- */

static void multiboot_header_anywhere(void **state)
{
	const struct multiboot_header h = {0x1badb002, 3, -(0x1badb002u + 3)};
	struct multiboot_header found;
	uint8_t bytes[8192 + 16] = {0};

	for (size_t at = 0; at + sizeof(h) <= sizeof(bytes); at++) {
		memset(bytes, 0, sizeof(bytes));
		memcpy(bytes + at, &h, sizeof(h));
		bool fits = at % 4 == 0 && at + sizeof(h) <= 8192;
		uint8_t *copy = cut(bytes, at + sizeof(h));
		assert_int_equal(multiboot_find(&found, copy, at + sizeof(h)), fits);
		assert_false(multiboot_find(&found, copy, at + sizeof(h) - 1));
		copy[at + 8]++; /* the checksum */
		assert_false(multiboot_find(&found, copy, at + sizeof(h)));
		free(copy);
	}
}

static void guess_any_size(void **state)
{
	uint8_t bytes[600] = {0};

	for (size_t size = 0; size <= sizeof(bytes); size++) {
		uint8_t *copy = cut(bytes, size);
		assert_null(guess_file(copy, size));
		free(copy);
	}
	memcpy(bytes, "MZ", 2);
	memcpy(bytes + 56, "ARM\x64", 4);
	assert_non_null(strstr(guess_file(bytes, 60), "arm64"));
	assert_non_null(strstr(guess_file(bytes, 59), "PE/EFI"));
	assert_string_equal(guess_machine(EM_AARCH64), "AArch64");
	assert_null(guess_machine(65535));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(elf_good),		cmocka_unit_test(elf_cut_off),
	    cmocka_unit_test(elf_of_32_bits),	cmocka_unit_test(elf_any_byte),
	    cmocka_unit_test(elf_hostile),	cmocka_unit_test(elf_notes),
	    cmocka_unit_test(elf_too_many),	cmocka_unit_test(bzimage_good),
	    cmocka_unit_test(bzimage_cut_off),	cmocka_unit_test(bzimage_short_header),
	    cmocka_unit_test(bzimage_any_byte), cmocka_unit_test(multiboot_header_anywhere),
	    cmocka_unit_test(guess_any_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
