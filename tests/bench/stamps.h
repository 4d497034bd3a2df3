/* SPDX-License-Identifier: MIT
 *
 * Moments of CLOCK_MONOTONIC, one for each exit, kept in memory that is touched
 * beforehand and written out at the end: 64-bit words in the machine's order. A
 * zero marks a gap: the moments on its two sides are no neighbours.
 */
#ifndef BENCH_STAMPS_H
#define BENCH_STAMPS_H

#include <stddef.h>
#include <stdint.h>

struct stamps {
	uint64_t *at; /* owned */
	size_t n, max;
};

/* Room for max moments. Ends the program if there is no memory. */
void stamps_init(struct stamps *s, size_t max);
/* Returns whether there is room for more. */
int stamps_add(struct stamps *s, uint64_t ns);
/* To standard output; frees them. 0, or 1 (and says so) if that failed. */
int stamps_write(struct stamps *s);

uint64_t stamps_now(void);

/* Puts the calling thread, and what it starts, on this CPU. Ends the program if
 * that cannot be. */
void stamps_pin(int cpu);

#endif
