/* SPDX-License-Identifier: MIT
 *
 * Where a device's bytes go: a file, standard output, or a pty, from which bytes
 * can also come.
 */
#ifndef KVMCPU_SINK_H
#define KVMCPU_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sink {
	int fd;	      /* owned unless it is standard output */
	int slave_fd; /* of a pty, owned: keeps it alive while nobody has it open */
	bool is_pty;
	int error; /* the first failure, -errno; nothing is written after it */
	size_t used;
	uint8_t buf[4096]; /* KVM hands out a page of string IO at most */
};

/* "-" is standard output, "pty" a new pty whose name goes to the log, anything
 * else a file, which is made or emptied. 0 or -errno. */
int sink_open(struct sink *s, const char *where);
void sink_close(struct sink *s);

void sink_put(struct sink *s, uint8_t byte);
/* Writes what was put. Waits for a file or a pipe; a pty that nobody reads loses
 * what it has no room for, like a line without flow control. 0 or -errno. */
int sink_flush(struct sink *s);

/* At most size bytes that came in by a pty; 0 without one. Does not wait. */
size_t sink_take(struct sink *s, uint8_t *buf, size_t size);

#endif
