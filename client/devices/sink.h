/* SPDX-License-Identifier: MIT
 *
 * Where the debug console's bytes go: a file or standard output.
 */
#ifndef KVMCPU_SINK_H
#define KVMCPU_SINK_H

#include <stddef.h>
#include <stdint.h>

struct sink {
	int fd;	   /* owned unless it is standard output */
	int error; /* the first failure, -errno; nothing is written after it */
	size_t used;
	uint8_t buf[4096]; /* KVM hands out a page of string IO at most */
};

/* "-" is standard output, anything else a file, which is made or emptied. 0 or
 * -errno. */
int sink_open(struct sink *s, const char *where);
void sink_close(struct sink *s);

void sink_put(struct sink *s, uint8_t byte);
/* Writes what was put. Waits. 0 or -errno. */
int sink_flush(struct sink *s);

#endif
