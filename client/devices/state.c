/* SPDX-License-Identifier: MIT
 *
 * The file holds two copies of the state and a number that says which of them
 * counts. A new state is written over the other one, and the number is stored
 * last, so that whoever is killed in between leaves the state before. The file
 * is mapped shared: what is in the page cache outlives the process, and nothing
 * is ever written by a system call. It belongs to one run of a VM, which the
 * daemon numbers at random.
 */
#include "config.h"

#include "state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

#define MAGIC "kvmcpust"
#define STATE_VERSION 1
#define SIZE 20480
#define COPIES_AT 4096
#define NAME_SIZE 8
#define SECTION_HEADER (NAME_SIZE + 4)

enum { AT_MAGIC = 0, AT_VERSION = 8, AT_CURRENT = 12, AT_INSTANCE = 16 };

void state_put_le(uint8_t *at, uint64_t value, unsigned bytes)
{
	unsigned i;

	for (i = 0; i < bytes; i++)
		at[i] = (uint8_t)(value >> (8 * i));
}

uint64_t state_get_le(const uint8_t *at, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | at[bytes];
	return value;
}

static unsigned current(const struct state *s)
{
	return state_get_le(s->file + AT_CURRENT, 4) & 1;
}

static uint8_t *copy_at(const struct state *s, unsigned n)
{
	return s->file + COPIES_AT + (size_t)n * STATE_COPY_SIZE;
}

/* x86 keeps stores in order, and the compiler is told to by the release. */
static void store_current(struct state *s, unsigned n)
{
	__atomic_store_n((uint32_t *)(void *)(s->file + AT_CURRENT), n, __ATOMIC_RELEASE);
}

/* ---- the file ---- */

/* An empty file is a new one. Whatever else is no state stays as it is. */
static int check_file(const struct state *s, off_t size)
{
	uint8_t head[AT_INSTANCE];

	if (size == 0)
		return ftruncate(s->fd, SIZE) < 0 ? -errno : 0;
	if (size != SIZE || pread(s->fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
		return -EINVAL;
	/* All zeros: made, but its maker was killed before the first state. */
	if (state_get_le(head, 8) == 0)
		return 0;
	if (memcmp(head, MAGIC, 8) != 0 || state_get_le(head + AT_VERSION, 4) != STATE_VERSION)
		return -EINVAL;
	return 0;
}

static int open_file(struct state *s, const char *path)
{
	struct stat st;
	void *at;
	int r;

	s->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
	if (s->fd < 0 || flock(s->fd, LOCK_EX | LOCK_NB) < 0 || fstat(s->fd, &st) < 0)
		return -errno;
	r = check_file(s, st.st_size);
	if (r < 0)
		return r;
	at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
	if (at == MAP_FAILED)
		return -errno;
	s->file = at;
	return 0;
}

int state_open(struct state *s, const char *path)
{
	int r;

	*s = (struct state){.fd = -1};
	if (path == NULL)
		return 0;
	r = open_file(s, path);
	if (r == -EINVAL)
		log_error("--state %s is no state of this version: name another file, or remove it",
			  path);
	else if (r == -EWOULDBLOCK)
		log_error("--state %s is another process's: end that, or name another file", path);
	else if (r < 0)
		log_error("--state %s cannot be used: %s; name a file that can be written", path,
			  strerror(-r));
	return r;
}

void state_close(struct state *s)
{
	if (s->file != NULL)
		munmap(s->file, SIZE);
	if (s->fd >= 0)
		close(s->fd);
	*s = (struct state){.fd = -1};
}

bool state_resume(struct state *s, uint64_t instance)
{
	if (s->file == NULL)
		return false;
	if (state_get_le(s->file + AT_INSTANCE, 8) == instance)
		return true;
	/* Nobody's, until it is ready to be this one's. */
	__atomic_store_n((uint64_t *)(void *)(s->file + AT_INSTANCE), 0, __ATOMIC_RELEASE);
	memcpy(s->file + AT_MAGIC, MAGIC, 8);
	state_put_le(s->file + AT_VERSION, STATE_VERSION, 4);
	state_put_le(copy_at(s, 0), 0, 4);
	store_current(s, 0);
	__atomic_store_n((uint64_t *)(void *)(s->file + AT_INSTANCE), instance, __ATOMIC_RELEASE);
	return false;
}

/* ---- sections ---- */

const uint8_t *state_find(const struct state *s, const char *name, size_t size, size_t *ret_size)
{
	char padded[NAME_SIZE] = {0};
	const uint8_t *at = copy_at(s, current(s)) + 4;
	size_t left = state_get_le(at - 4, 4), n;

	memcpy(padded, name, strlen(name));
	if (left > STATE_COPY_SIZE - 4)
		return NULL;
	for (; left >= SECTION_HEADER; at += n, left -= n) {
		n = state_get_le(at + NAME_SIZE, 4);
		if (n > left - SECTION_HEADER)
			return NULL;
		if (memcmp(at, padded, NAME_SIZE) == 0 && (size == SIZE_MAX || size == n)) {
			if (ret_size != NULL)
				*ret_size = n;
			return at + SECTION_HEADER;
		}
		n += SECTION_HEADER;
	}
	return NULL;
}

void state_begin(struct state *s)
{
	s->copy = copy_at(s, !current(s));
	s->used = 4;
}

uint8_t *state_put(struct state *s, const char *name, size_t size)
{
	uint8_t *at = s->copy + s->used;

	assert(s->used + SECTION_HEADER + size <= STATE_COPY_SIZE);
	memset(at, 0, NAME_SIZE);
	memcpy(at, name, strlen(name));
	state_put_le(at + NAME_SIZE, size, 4);
	s->used += SECTION_HEADER + size;
	return at + SECTION_HEADER;
}

void state_commit(struct state *s)
{
	state_put_le(s->copy, s->used - 4, 4);
	store_current(s, !current(s));
}
