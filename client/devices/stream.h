/* SPDX-License-Identifier: MIT
 *
 * Where the serial port's bytes go to and come from: a file, standard input and
 * output, a pseudo-terminal or a socket. One thread. No call waits, but for a
 * write to a file.
 *
 * A stream says by poll what it waits for. Both ways there is back-pressure: what
 * the other end does not take stays with the caller, and nothing is read that the
 * caller has no room for.
 */
#ifndef KVMCPU_STREAM_H
#define KVMCPU_STREAM_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "terminal.h"

struct stream;

/* One kind of stream. */
struct stream_type {
	/* How many bytes were taken, those dropped for want of a reader among
	 * them; 0: no room now; or -errno. */
	ssize_t (*write)(struct stream *s, const uint8_t *buf, size_t size);
	/* 0: nothing is there. */
	size_t (*read)(struct stream *s, uint8_t *buf, size_t size);
	/* Fills in at most STREAM_POLLS, returns how many. */
	size_t (*poll)(const struct stream *s, bool input, struct pollfd *ret);
	void (*polled)(struct stream *s, const struct pollfd *p, size_t n);
};

#define STREAM_POLLS 2

struct stream {
	const struct stream_type *type; /* NULL: there is none */
	int in, out;			/* owned, except standard ones; -1 for none */
	int watch;			/* owned: what tells that somebody comes; -1 */
	const char *path;		/* of a socket, borrowed: removed at the end */
	bool regular;			/* out is a regular file */
	bool attached;			/* somebody is there to read */
	bool more;			/* a read is worth trying */
	bool in_ended;			/* no input will come any more */
	bool stalled;			/* output waits for room */
	enum terminal_wish wish;	/* what the user asked us for */
	uint64_t written;		/* by this and earlier processes */
	uint64_t skip;			/* of what comes next, written already */
};

/* "none"; "-"; "pty", whose name goes to the log; "unix:PATH"; anything else is a
 * file. where is borrowed for as long as the stream is. 0, or -errno with a
 * sentence in the log. */
int stream_open(struct stream *s, const char *where);
/* A file is emptied; or, resumed, it goes on behind the bytes that s->written
 * counts, and what is in it beyond those will not be written a second time. 0 or
 * -errno. */
int stream_begin(struct stream *s, bool resumed);
void stream_close(struct stream *s);

/* Writes; as the type's write, and keeps count. */
ssize_t stream_write(struct stream *s, const uint8_t *buf, size_t size);
/* Waits until a stalled output can go on. 0 or -errno; -ECANCELED if there is
 * something to read from end_fd. */
int stream_wait(struct stream *s, int end_fd);

/* Of files and what behaves like one: the write of their types. */
ssize_t stream_write_file(struct stream *s, const uint8_t *buf, size_t size);

int stream_open_pty(struct stream *s);
int stream_open_unix(struct stream *s, const char *path);
int stream_open_stdio(struct stream *s);

#endif
