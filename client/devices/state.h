/* SPDX-License-Identifier: MIT
 *
 * What the devices keep in a file for the process that comes after a killed one.
 * kvmcpu-pc(1) has the format. One thread; no call waits.
 */
#ifndef KVMCPU_STATE_H
#define KVMCPU_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STATE_COPY_SIZE 8192

struct state {
	uint8_t *file; /* mapped shared; NULL: nothing is kept */
	int fd;	       /* owned, locked; -1 */
	uint8_t *copy; /* the one that is being written; NULL if none is */
	size_t used;   /* bytes of it */
};

/* path NULL: nothing is kept. 0, or -errno with a sentence in the log. */
int state_open(struct state *s, const char *path);
void state_close(struct state *s);

/* Whether the file has the state of this run of this VM. If not it is made one
 * that has no sections. */
bool state_resume(struct state *s, uint64_t instance);
/* A section of the current copy, if it has exactly size bytes; else NULL. SIZE_MAX
 * takes any size, which goes to *ret_size. */
const uint8_t *state_find(const struct state *s, const char *name, size_t size, size_t *ret_size);

/* Writes the other copy, section by section, and then makes it the current one.
 * state_put() returns where the section's bytes go. */
void state_begin(struct state *s);
uint8_t *state_put(struct state *s, const char *name, size_t size);
void state_commit(struct state *s);

void state_put_le(uint8_t *at, uint64_t value, unsigned bytes);
uint64_t state_get_le(const uint8_t *at, unsigned bytes);

#endif
