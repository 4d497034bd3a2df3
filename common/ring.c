/* SPDX-License-Identifier: MIT
 *
 * A record is a header of four words (size, number, tag), its bytes padded to
 * words, and its number once more, so that a new reader, which starts at head,
 * knows the number that comes next. Before the writer overwrites a record it moves tail past it, so
 *a reader copies first and then looks at tail: if its record was still behind tail, the copy is
 *whole. All words are relaxed atomics, which are plain moves on x86, because a reader may read what
 *the writer is just writing; two fences make the order of tail, words and head hold:
 *
 *	writer: tail, release fence, words, head (release)
 *	reader: head (acquire), words, acquire fence, tail
 *
 * If a reader saw one word of the new record, it sees the new tail as well.
 */
#include "config.h"

#include "ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { HEADER_WORDS = 4, FOOTER_WORDS = 1 };

static uint64_t load(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static void store(_Atomic uint64_t *p, uint64_t value)
{
	atomic_store_explicit(p, value, memory_order_relaxed);
}

static _Atomic uint64_t *word_at(const struct ring *r, uint64_t pos)
{
	return &r->words[(pos & (r->size - 1)) / 8];
}

/* Bytes that a record of size bytes takes in the ring. */
static uint64_t span(uint64_t size)
{
	return (HEADER_WORDS + FOOTER_WORDS) * 8 + ((size + 7) & ~(uint64_t)7);
}

int ring_init(struct ring *r, size_t size_bytes)
{
	assert(size_bytes >= 4096 && (size_bytes & (size_bytes - 1)) == 0);
	void *map =
	    mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return -ENOMEM;
	*r = (struct ring){.size = size_bytes, .words = map};
	store(&r->next_seq, 1);
	store(&r->alarm, UINT64_MAX);
	return 0;
}

void ring_free(struct ring *r)
{
	if (r->words != NULL)
		munmap((void *)r->words, r->size);
	r->words = NULL;
}

size_t ring_max_record(const struct ring *r)
{
	return r->size / 4; /* so that a reader's chances are never slim */
}

uint64_t ring_next_seq(const struct ring *r)
{
	return load(&r->next_seq);
}

/* Moves tail past the records that the bytes up to end will overwrite. */
static void make_room(struct ring *r, uint64_t end)
{
	uint64_t tail = load(&r->tail);

	while (end - tail > r->size)
		tail += span(load(word_at(r, tail)));
	store(&r->tail, tail);
	atomic_thread_fence(memory_order_release);
}

static void put_bytes(struct ring *r, uint64_t pos, const uint8_t *data, size_t size)
{
	for (; size >= 8; pos += 8, data += 8, size -= 8) {
		uint64_t word;
		memcpy(&word, data, 8);
		store(word_at(r, pos), word);
	}
	if (size > 0) {
		uint64_t word = 0;
		memcpy(&word, data, size);
		store(word_at(r, pos), word);
	}
}

int ring_write(struct ring *r, const struct ring_tag *tag, const void *data, size_t size)
{
	uint64_t head = load(&r->head), seq = load(&r->next_seq);
	uint64_t end = head + span(size);

	assert(size <= ring_max_record(r));
	make_room(r, end);
	store(word_at(r, head), size);
	store(word_at(r, head + 8), seq);
	store(word_at(r, head + 16), tag->address);
	store(word_at(r, head + 24), (uint64_t)tag->kind << 32 | tag->space);
	put_bytes(r, head + HEADER_WORDS * 8, data, size);
	store(word_at(r, end - 8), seq);
	store(&r->next_seq, seq + 1);
	atomic_store_explicit(&r->head, end, memory_order_release);
	if (end < load(&r->alarm))
		return 0;
	store(&r->alarm, UINT64_MAX);
	return 1;
}

void ring_cursor_init(const struct ring *r, struct ring_cursor *c)
{
	do {
		c->pos = atomic_load_explicit(&r->head, memory_order_acquire);
		c->next_seq = c->pos > 0 ? load(word_at(r, c->pos - 8)) + 1 : 1;
		atomic_thread_fence(memory_order_acquire);
	} while (c->pos != load(&r->head));
}

static void get_bytes(const struct ring *r, uint64_t pos, uint8_t *buf, size_t size)
{
	for (; size >= 8; pos += 8, buf += 8, size -= 8) {
		uint64_t word = load(word_at(r, pos));
		memcpy(buf, &word, 8);
	}
	if (size > 0) {
		uint64_t word = load(word_at(r, pos));
		memcpy(buf, &word, size);
	}
}

/* Whether what was read from pos on is whole: the writer has not passed it. */
static int still_there(const struct ring *r, uint64_t pos)
{
	atomic_thread_fence(memory_order_acquire);
	return load(&r->tail) <= pos;
}

/* Puts an overtaken cursor on the oldest record. Returns that record's number. */
static uint64_t catch_up(const struct ring *r, struct ring_cursor *c)
{
	uint64_t seq;

	do {
		c->pos = load(&r->tail);
		atomic_thread_fence(memory_order_acquire);
		seq = load(word_at(r, c->pos + 8));
	} while (!still_there(r, c->pos));
	return seq;
}

int ring_read(const struct ring *r, struct ring_cursor *c, void *buf, uint64_t *ret_seq,
	      struct ring_tag *ret_tag, size_t *ret_size)
{
	uint64_t head = atomic_load_explicit(&r->head, memory_order_acquire);

	if (head == c->pos)
		return 0;

	uint64_t size = load(word_at(r, c->pos)), seq = load(word_at(r, c->pos + 8));
	uint64_t address = load(word_at(r, c->pos + 16)), kinds = load(word_at(r, c->pos + 24));

	if (still_there(r, c->pos)) {
		get_bytes(r, c->pos + HEADER_WORDS * 8, buf, size);
		if (still_there(r, c->pos)) {
			*ret_seq = seq;
			*ret_tag =
			    (struct ring_tag){address, (uint32_t)(kinds >> 32), (uint32_t)kinds};
			*ret_size = size;
			c->pos += span(size);
			c->next_seq = seq + 1;
			return 1;
		}
	}
	seq = catch_up(r, c);
	*ret_seq = c->next_seq;
	*ret_size = seq - c->next_seq;
	c->next_seq = seq;
	return 2;
}

void ring_set_alarm(struct ring *r, const struct ring_cursor *c)
{
	uint64_t at = c->pos + r->size / 2;

	/* Several readers: the first to fall behind decides. */
	if (at < load(&r->alarm))
		store(&r->alarm, at);
}

void ring_clear_alarm(struct ring *r)
{
	store(&r->alarm, UINT64_MAX);
}
