/* SPDX-License-Identifier: MIT
 *
 * A bounded broadcast ring of variable-sized records: one writer that never
 * waits, any number of readers with cursors of their own. The writer overwrites
 * the oldest records; a reader that was overtaken learns how many records
 * passed it, exactly, from their numbers.
 *
 * Writer and readers may be different threads; a cursor belongs to one thread.
 */
#ifndef KVMCPU_RING_H
#define KVMCPU_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Beside each record, so that a reader can pass over it without reading it. */
struct ring_tag {
	uint64_t address;
	uint32_t kind;	/* of the exit; 0 for anything else */
	uint32_t space; /* of address; 0 if there is none */
};

struct ring {
	size_t size; /* bytes, a power of two */
	_Atomic uint64_t *words;
	/* Positions in bytes since the start; the writer stores, readers load. */
	_Atomic uint64_t tail; /* the oldest record that is whole */
	_Atomic uint64_t head; /* behind the newest */
	_Atomic uint64_t next_seq;
	/* Readers set it: when head passes it, ring_write returns 1, once. */
	_Atomic uint64_t alarm;
};

struct ring_cursor {
	uint64_t pos;
	uint64_t next_seq; /* of the record expected at pos */
};

/* size_bytes: a power of two, at least 4096. 0 or -ENOMEM. */
int ring_init(struct ring *r, size_t size_bytes);
void ring_free(struct ring *r);
/* The longest record that the ring takes. */
size_t ring_max_record(const struct ring *r);

/* The number that the next record will have; numbers start at 1. Writer only. */
uint64_t ring_next_seq(const struct ring *r);
/* Appends a record of size bytes, at most ring_max_record(). Returns 1 if a
 * reader's alarm went off, else 0. Writer only. */
int ring_write(struct ring *r, const struct ring_tag *tag, const void *data, size_t size);

/* Puts the cursor behind the newest record. */
void ring_cursor_init(const struct ring *r, struct ring_cursor *c);
/* Copies the next record to buf, which has room for ring_max_record(). Returns
 * 1 and sets *ret_seq, *ret_tag, *ret_size; 0 if there is none; 2 if *ret_size
 * records, from number *ret_seq on, were overwritten unread: the cursor now
 * stands behind them. */
int ring_read(const struct ring *r, struct ring_cursor *c, void *buf, uint64_t *ret_seq,
	      struct ring_tag *ret_tag, size_t *ret_size);
/* Asks ring_write to return 1 when half the ring beyond the cursor is written. */
void ring_set_alarm(struct ring *r, const struct ring_cursor *c);
void ring_clear_alarm(struct ring *r);

#endif
