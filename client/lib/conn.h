/* SPDX-License-Identifier: MIT
 *
 * One connection to a daemon, whatever its role: greeting, frames in, frames
 * out, and the text of what went wrong. Internal to libkvmcpu.
 *
 * A connection belongs to one thread at a time.
 */
#ifndef KVMCPU_CONN_H
#define KVMCPU_CONN_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "codec.h"
#include "kvmcpu.h"
#include "look.h"

struct conn {
	int fd;	       /* owned, blocking; -1 when closed */
	int passed_fd; /* came beside the last bytes; owned, -1 for none */
	bool takes_fd; /* look for descriptors beside the bytes */
	size_t frame_max;
	struct look look; /* for input */
	uint8_t *in;	  /* owned; bytes from start to end are not yet taken */
	size_t in_size, start, end;
	uint8_t *out; /* owned; FRAME_HEADER_MAX and then a message */
	struct codec_arena hello_arena;
	struct kvmcpu_hello_reply hello; /* in hello_arena */
	uint64_t timeout_ns;
	char error[KVMCPU_ERROR_TEXT];
};

/* A connection that conn_close() may be called on. */
void conn_init(struct conn *c);

/* Connects to the peer's socket file ("device.sock") and exchanges Hello, whose
 * versions, client and descriptor flag are filled in here. Waits. 0 or the
 * errors of the _new calls; *err is then filled in, and conn_close() is due. */
int conn_open(struct conn *c, const struct kvmcpu_peer *peer, const char *file, size_t frame_max,
	      struct kvmcpu_hello *hello, struct kvmcpu_error *err);
void conn_close(struct conn *c);

/* The next frame, which stays in place until the next call. Waits until
 * deadline_ns of CLOCK_MONOTONIC (0: not at all, UINT64_MAX: for ever). 0;
 * KVMCPU_END at the end of the stream; -EAGAIN, -EINTR, -EPROTO or what recv(2)
 * says. Sets the text unless it is 0, -EAGAIN or -EINTR. */
int conn_frame(struct conn *c, uint64_t deadline_ns, const uint8_t **ret, size_t *ret_size);

/* Where the next message is packed, frame_max bytes. */
uint8_t *conn_body(struct conn *c);
/* Sends the size bytes at conn_body() as a frame. 0, -ETIMEDOUT, -ECONNRESET if
 * the peer has gone, or what send(2) says. */
int conn_send(struct conn *c, size_t size, uint64_t deadline_ns);

/* Sets the text and returns r. */
int conn_fail(struct conn *c, int r, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same for a _new call that fails before there is a connection; err may be
 * NULL. */
int conn_refuse(struct kvmcpu_error *err, int r, const char *text);

/* The moment timeout_ns from now; 0 and UINT64_MAX stay what they are. */
uint64_t conn_deadline(uint64_t timeout_ns);

/* Turns a failed connect into a sentence: where it looked, how to start a
 * daemon, and which VMs do run beside it. Returns the errno to report. */
int explain_connect(int r, const struct kvmcpu_peer *peer, const char *file, char *text,
		    size_t size);

#endif
