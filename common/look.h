/* SPDX-License-Identifier: MIT
 *
 * Whether to look for bytes before sleeping on them. Sleeping and being woken is
 * the dear part of an exchange between two processes; where the other side
 * answers within microseconds, looking again and again is cheaper, with the
 * processor yielded in between, so that a peer on the same one can run.
 *
 * A look that finds nothing in time, or during which the processor went to
 * somebody else for long, is left out the next 1, 3, 7 ... times. So a slow peer
 * or a crowded processor costs next to nothing, and a fast one is found again.
 */
#ifndef KVMCPU_LOOK_H
#define KVMCPU_LOOK_H

#include <stdbool.h>
#include <stdint.h>

#define LOOK_NS 100000 /* longest look; picked: a sleeper on another core has answered by then */
#define LOOK_MAX_REST 1023 /* picked: a vain look then costs less than 1 us a wait */

/* Zeros are the start. Belongs to one thread at a time. */
struct look {
	uint32_t rest; /* waits to come that go to sleep at once */
	uint32_t next_rest;
};

/* Asks before each wait. */
static inline bool look_is_worth(struct look *l)
{
	if (l->rest == 0)
		return true;
	l->rest--;
	return false;
}

/* Tells how a look went. */
static inline void look_ended(struct look *l, bool found, uint64_t took_ns)
{
	if (found && took_ns <= LOOK_NS) {
		l->next_rest /= 2;
		return;
	}
	l->next_rest = l->next_rest >= LOOK_MAX_REST / 2 ? LOOK_MAX_REST : 2 * l->next_rest + 1;
	l->rest = l->next_rest;
}

#endif
