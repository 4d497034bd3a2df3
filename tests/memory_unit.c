/* SPDX-License-Identifier: MIT
 *
 * Guest memory: where each address lies and where none does, at every edge;
 * files that fit to the last byte and those that do not; and a read-only
 * descriptor through which nobody writes.
 */
#include "config.h"

#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (1ull << 20)
#define GIB (1ull << 30)

static void make(struct memory *m, uint64_t ram, uint64_t rom)
{
	struct fault f = {0};

	assert_int_equal(memory_create(m, ram, rom, &f), 0);
}

/* A file of size bytes, each the low byte of its place; the caller unlinks. */
static const char *make_file(size_t size)
{
	static char path[64];
	uint8_t block[4096];

	for (size_t i = 0; i < sizeof(block); i++)
		block[i] = (uint8_t)(i + i / 256);
	snprintf(path, sizeof(path), "%s/memory-unit-XXXXXX", P_tmpdir);
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	for (size_t done = 0; done < size; done += sizeof(block)) {
		size_t n = size - done < sizeof(block) ? size - done : sizeof(block);
		assert_int_equal(write(fd, block, n), n);
	}
	close(fd);
	return path;
}

static void check_edge(const struct memory *m, const struct kvmcpu_memory_region *r)
{
	uint64_t end = r->address + r->size_bytes - 1;
	uint8_t *first = m->map + r->offset, *last = first + r->size_bytes - 1;

	assert_ptr_equal(memory_at(m, r->address, 1, false), first);
	assert_ptr_equal(memory_at(m, r->address, r->size_bytes, false), first);
	assert_ptr_equal(memory_at(m, end, 1, false), last);
	assert_ptr_equal(memory_at(m, end - 7, 8, false), last - 7);
	assert_null(memory_at(m, end, 2, false));
	assert_null(memory_at(m, end - 6, 8, false));
	assert_null(memory_at(m, r->address, r->size_bytes + 1, false));
	assert_null(memory_at(m, r->address, UINT64_MAX, false));
	assert_null(memory_at(m, end, UINT64_MAX - 1, false));
	if (r->read_only)
		assert_null(memory_at(m, r->address, 1, true));
	else
		assert_ptr_equal(memory_at(m, end, 1, true), last);
}

static void test_layout(void **state)
{
	static const struct {
		uint64_t ram, rom, low, high;
	} cases[] = {
	    {MIB, 0, MIB, 0},
	    {128 * MIB, 256 << 10, 128 * MIB, 0},
	    {3 * GIB - 4096, 4096, 3 * GIB - 4096, 0},
	    {3 * GIB, 4096, 3 * GIB, 0},
	    {3 * GIB + 4096, 16 * MIB, 3 * GIB, 4096},
	    {40 * GIB, 0, 3 * GIB, 37 * GIB},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct memory m;
		uint64_t offset = 0;
		make(&m, cases[i].ram, cases[i].rom);
		assert_int_equal(m.n_regions, 1 + (cases[i].high > 0) + (cases[i].rom > 0));
		for (size_t r = 0; r < m.n_regions; r++) {
			assert_int_equal(m.regions[r].offset, offset);
			offset += m.regions[r].size_bytes;
			check_edge(&m, &m.regions[r]);
		}
		assert_int_equal(m.map_size, offset);
		assert_int_equal(m.regions[0].address, 0);
		assert_int_equal(m.regions[0].size_bytes, cases[i].low);
		if (cases[i].high > 0) {
			assert_int_equal(m.regions[1].address, 4 * GIB);
			assert_int_equal(m.regions[1].size_bytes, cases[i].high);
		}
		if (cases[i].rom > 0) {
			const struct kvmcpu_memory_region *rom = &m.regions[m.n_regions - 1];
			assert_true(rom->read_only);
			assert_int_equal(rom->address + rom->size_bytes, 4 * GIB);
		}
		assert_null(memory_at(&m, cases[i].low, 1, false));
		assert_null(memory_at(&m, 4 * GIB - 1 - cases[i].rom, 1, false));
		assert_null(memory_at(&m, 4 * GIB + cases[i].high, 1, false));
		assert_null(memory_at(&m, UINT64_MAX, 1, false));
		memory_destroy(&m);
	}
}

/* From the end of the ROM on, addresses are RAM, but no access spans both. */
static void test_no_span_over_two_regions(void **state)
{
	struct memory m;

	make(&m, 4 * GIB, 4096);
	assert_non_null(memory_at(&m, 4 * GIB - 1, 1, false));
	assert_non_null(memory_at(&m, 4 * GIB, 1, false));
	assert_null(memory_at(&m, 4 * GIB - 1, 2, false));
	memory_destroy(&m);
}

static void test_refused_by_the_system(void **state)
{
	struct memory m;
	struct fault f = {0};

	assert_int_equal(memory_create(&m, 1ull << 62, 0, &f), -1);
	assert_int_equal(f.status, STATUS_OS);
	assert_non_null(strstr(f.text, "4398046511104 MiB"));
	assert_non_null(strstr(f.text, "--memory"));
	assert_int_equal(m.fd, -1);
	memory_destroy(&m); /* does nothing */
}

static void test_load_file(void **state)
{
	const char *path = make_file(5000);
	struct memory m;
	struct fault f = {0};

	make(&m, MIB, 0);
	assert_int_equal(memory_load_file(&m, path, 100, &f), 0);
	assert_int_equal(m.map[99], 0);
	assert_int_equal(m.map[100 + 300], (uint8_t)(300 + 1));
	assert_int_equal(m.map[100 + 4999], (uint8_t)(4999 - 4096 + 3));
	assert_int_equal(m.map[100 + 5000], 0);
	assert_int_equal(memory_load_file(&m, path, MIB - 5000, &f), 0);
	assert_int_equal(memory_load_file(&m, path, MIB - 4999, &f), -1);
	assert_int_equal(f.status, STATUS_IMAGE);
	assert_non_null(strstr(f.text, path));
	assert_non_null(strstr(f.text, "5000 bytes"));
	assert_int_equal(memory_load_file(&m, path, UINT64_MAX - 100, &f), -1);
	unlink(path);
	assert_int_equal(memory_load_file(&m, path, 0, &f), -1);
	assert_non_null(strstr(f.text, strerror(ENOENT)));
	assert_int_equal(memory_load_file(&m, P_tmpdir, 0, &f), -1);
	assert_non_null(strstr(f.text, "regular"));
	memory_destroy(&m);
}

/* The whole of it ends at 4 GiB, its last 128 KiB at 1 MiB as well. */
static void check_firmware(size_t size)
{
	const char *path = make_file(size);
	size_t low = size < 128 << 10 ? size : 128 << 10;
	struct memory m;
	struct fault f = {0};

	assert_int_equal(memory_firmware_size(path, &f), size);
	make(&m, MIB, size);
	assert_int_equal(memory_load_firmware(&m, path, &f), 0);
	const uint8_t *rom = memory_at(&m, 4 * GIB - size, size, false);
	assert_int_equal(rom[300], (uint8_t)(300 + 1));
	assert_memory_equal(rom + size - low, m.map + MIB - low, low);
	assert_int_equal(m.map[MIB - low - 1], 0);
	/* A firmware that changed size since the ROM was made for it. */
	assert_int_equal(truncate(path, (off_t)size + 4096), 0);
	assert_int_equal(memory_load_firmware(&m, path, &f), -1);
	assert_non_null(strstr(f.text, "size changed"));
	unlink(path);
	memory_destroy(&m);
}

static void test_firmware(void **state)
{
	check_firmware(4096);
	check_firmware(64 << 10);
	check_firmware(128 << 10);
	check_firmware(256 << 10);
	check_firmware(16 << 20);
}

static void test_firmware_of_a_bad_size(void **state)
{
	static const size_t sizes[] = {1, 4095, 4097, (16 << 20) + 4096};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const char *path = make_file(sizes[i]);
		struct fault f = {0};
		assert_int_equal(memory_firmware_size(path, &f), -1);
		assert_int_equal(f.status, STATUS_IMAGE);
		assert_non_null(strstr(f.text, "multiple of 4096"));
		unlink(path);
	}
}

/* Neither by mapping nor by write, and its size stays as it is. */
static void test_read_only_descriptor(void **state)
{
	struct memory m;

	make(&m, MIB, 0);
	m.map[5] = 7;
	int fd = memory_open_read_only(&m);
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	uint8_t *map = mmap(NULL, MIB, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(map[5], 7);
	m.map[5] = 8; /* shared, no copy */
	assert_int_equal(map[5], 8);
	assert_true(mmap(NULL, MIB, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	assert_int_equal(mprotect(map, MIB, PROT_READ | PROT_WRITE), -1);
	assert_int_equal(write(fd, "x", 1), -1);
	assert_int_equal(ftruncate(fd, 0), -1);
	assert_int_equal(ftruncate(m.fd, 0), -1);
	assert_int_equal(ftruncate(m.fd, 2 * MIB), -1);
	munmap(map, MIB);
	close(fd);
	memory_destroy(&m);
}

/* Who holds a read-only descriptor can open /proc/self/fd/N anew, for writing too
 * if the file's mode lets it: memfd_create gives 0777. */
static void test_mode_of_the_file(void **state)
{
	struct memory m;
	struct stat st;

	make(&m, MIB, 0);
	int fd = memory_open_read_only(&m);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 0777 & ~0600, 0);
	close(fd);
	memory_destroy(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_layout),
	    cmocka_unit_test(test_no_span_over_two_regions),
	    cmocka_unit_test(test_refused_by_the_system),
	    cmocka_unit_test(test_load_file),
	    cmocka_unit_test(test_firmware),
	    cmocka_unit_test(test_firmware_of_a_bad_size),
	    cmocka_unit_test(test_read_only_descriptor),
	    cmocka_unit_test(test_mode_of_the_file),
	};

	return cmocka_run_group_tests_name("memory", tests, NULL, NULL);
}
