/* SPDX-License-Identifier: MIT
 *
 * A connection reads into one buffer that holds the longest frame, and takes
 * frames from its front. In the common case one recv brings one frame: the
 * buffer is then empty again and nothing is ever moved. A message is packed
 * behind room for its header, so that both leave by one send.
 */
#include "config.h"

#include "conn.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "frame.h"
#include "sock.h"

#define DEFAULT_TIMEOUT_NS 5000000000u /* picked, not tuned */
/* A HelloReply in a frame of 1 MiB, unpacked: its smallest parts grow most. */
#define HELLO_ARENA_LIMIT (16u << 20)

int conn_fail(struct conn *c, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(c->error, sizeof(c->error), format, args);
	va_end(args);
	return r;
}

int conn_refuse(struct kvmcpu_error *err, int r, const char *text)
{
	if (err != NULL) {
		err->status = (enum kvmcpu_hello_status)0;
		snprintf(err->text, sizeof(err->text), "%s", text);
	}
	return r;
}

uint64_t conn_deadline(uint64_t timeout_ns)
{
	uint64_t now;

	if (timeout_ns == 0 || timeout_ns == UINT64_MAX)
		return timeout_ns;
	now = sock_now_ns();
	return timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;
}

void conn_init(struct conn *c)
{
	memset(c, 0, sizeof(*c));
	c->fd = -1;
	c->passed_fd = -1;
	codec_arena_growing(&c->hello_arena, HELLO_ARENA_LIMIT);
}

void conn_close(struct conn *c)
{
	if (c->fd >= 0)
		close(c->fd);
	if (c->passed_fd >= 0)
		close(c->passed_fd);
	codec_arena_free(&c->hello_arena);
	free(c->in);
	free(c->out);
	conn_init(c);
}

/* ---- bytes in ---- */

/* Waits for input until deadline_ns. 0, -EAGAIN or -EINTR. */
static int wait_for_input(struct conn *c, uint64_t deadline_ns)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	struct timespec left;
	uint64_t now = sock_now_ns();
	int n;

	if (now >= deadline_ns)
		return -EAGAIN;
	left.tv_sec = (time_t)((deadline_ns - now) / 1000000000u);
	left.tv_nsec = (long)((deadline_ns - now) % 1000000000u);
	n = ppoll(&p, 1, &left, NULL);
	if (n < 0)
		return -errno;
	return n > 0 ? 0 : -EAGAIN;
}

/* Only a greeting and control answers can bring descriptors; everything else
 * takes plain recv, the cheaper way. */
static ssize_t receive(struct conn *c, void *buf, size_t size, int flags)
{
	ssize_t n;
	int fd = -1;

	if (!c->takes_fd) {
		n = recv(c->fd, buf, size, flags);
		return n < 0 ? -errno : n;
	}
	n = sock_recv_now(c->fd, buf, size, &fd);
	if (fd >= 0) {
		if (c->passed_fd >= 0)
			close(c->passed_fd);
		c->passed_fd = fd;
	}
	return n;
}

/* Looks for bytes for a while, and then waits for them. */
static ssize_t receive_forever(struct conn *c, void *buf, size_t size)
{
	uint64_t began, took;
	ssize_t n;

	if (!look_is_worth(&c->look))
		return receive(c, buf, size, 0);
	began = sock_now_ns();
	do {
		sched_yield();
		n = receive(c, buf, size, MSG_DONTWAIT);
		took = sock_now_ns() - began;
	} while (n == -EAGAIN && took < LOOK_NS);
	look_ended(&c->look, n != -EAGAIN, took);
	return n != -EAGAIN ? n : receive(c, buf, size, 0);
}

static ssize_t receive_until(struct conn *c, void *buf, size_t size, uint64_t deadline_ns)
{
	ssize_t n;
	int r;

	if (deadline_ns == UINT64_MAX && !c->takes_fd)
		return receive_forever(c, buf, size);
	for (;;) {
		n = receive(c, buf, size, MSG_DONTWAIT);
		if (n != -EAGAIN || deadline_ns == 0)
			return n;
		r = wait_for_input(c, deadline_ns);
		if (r < 0)
			return r;
	}
}

static int end_of_stream(struct conn *c)
{
	return conn_fail(c, KVMCPU_END, "the daemon closed the connection%s without a word",
			 c->end > c->start ? " in the middle of a message," : "");
}

static int receive_more(struct conn *c, uint64_t deadline_ns)
{
	ssize_t n;

	if (c->end == c->in_size) {
		memmove(c->in, c->in + c->start, c->end - c->start);
		c->end -= c->start;
		c->start = 0;
	}
	n = receive_until(c, c->in + c->end, c->in_size - c->end, deadline_ns);
	if (n == 0 || n == -ECONNRESET)
		return end_of_stream(c);
	if (n == -EAGAIN || n == -EINTR)
		return (int)n;
	if (n < 0)
		return conn_fail(c, (int)n, "cannot receive from the daemon: %s",
				 strerror((int)-n));
	c->end += (size_t)n;
	return 0;
}

int conn_frame(struct conn *c, uint64_t deadline_ns, const uint8_t **ret, size_t *ret_size)
{
	size_t header, size;
	int r;

	if (c->start == c->end)
		c->start = c->end = 0;
	for (;;) {
		r = frame_parse(c->in + c->start, c->end - c->start, c->frame_max, &header, &size);
		if (r < 0)
			return conn_fail(
			    c, -EPROTO,
			    "what answers is no kvmcpud: a frame begins with no length "
			    "up to %zu",
			    c->frame_max);
		if (r > 0)
			break;
		r = receive_more(c, deadline_ns);
		if (r != 0)
			return r;
	}
	*ret = c->in + c->start + header;
	*ret_size = size;
	c->start += header + size;
	return 0;
}

/* ---- bytes out ---- */

uint8_t *conn_body(struct conn *c)
{
	return c->out + FRAME_HEADER_MAX;
}

/* A frame fits the socket as a rule, and plain send is then the cheapest way. */
static int transmit(struct conn *c, const uint8_t *frame, size_t size, uint64_t deadline_ns)
{
	ssize_t n = send(c->fd, frame, size, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (n == (ssize_t)size)
		return 0;
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		return -errno;
	if (n < 0)
		n = 0;
	return sock_send(c->fd, frame + n, size - (size_t)n, -1, deadline_ns);
}

int conn_send(struct conn *c, size_t size, uint64_t deadline_ns)
{
	uint8_t header[FRAME_HEADER_MAX];
	size_t n = frame_put_header(header, size);
	uint8_t *frame = conn_body(c) - n;
	int r;

	memcpy(frame, header, n);
	r = transmit(c, frame, n + size, deadline_ns);
	if (r == -EPIPE || r == -ECONNRESET)
		return conn_fail(c, -ECONNRESET, "the daemon has closed the connection");
	if (r < 0)
		return conn_fail(c, r, "cannot send to the daemon: %s", strerror(-r));
	return 0;
}

/* ---- the greeting ---- */

static const char *default_client(void)
{
	const char *name = program_invocation_short_name;
	size_t i;

	for (i = 0; name[i] != '\0'; i++)
		if (name[i] < 0x20 || name[i] > 0x7e || i >= KVMCPU_MAX_NAME)
			return "client";
	return i > 0 ? name : "client";
}

static int refusal(struct conn *c, const struct kvmcpu_hello_reply *reply)
{
	static const int errors[] = {
	    [KVMCPU_HELLO_VERSION] = -EPROTONOSUPPORT, [KVMCPU_HELLO_INVALID] = -EPROTO,
	    [KVMCPU_HELLO_OVERLAP] = -EADDRINUSE,      [KVMCPU_HELLO_LIMIT] = -EUSERS,
	    [KVMCPU_HELLO_PERMISSION] = -EPERM,
	};
	int r = -EPROTO;

	if ((size_t)reply->status < sizeof(errors) / sizeof(errors[0]) &&
	    errors[reply->status] != 0)
		r = errors[reply->status];
	return conn_fail(c, r, "the daemon refused: %s",
			 reply->message != NULL && reply->message[0] != '\0' ? reply->message
									     : "it gave no reason");
}

static int send_hello(struct conn *c, const struct kvmcpu_hello *hello, uint64_t deadline_ns)
{
	int n = codec_pack_hello(hello, conn_body(c), KVMCPU_HELLO_FRAME_MAX);

	if (n == -ENOSPC)
		return conn_fail(c, -EINVAL,
				 "the Hello is longer than a frame of %u bytes: claim larger "
				 "ranges, or spread the claims over several channels",
				 KVMCPU_HELLO_FRAME_MAX);
	if (n < 0)
		return conn_fail(c, n, "cannot make a Hello of these options: %s", strerror(-n));
	return conn_send(c, (size_t)n, deadline_ns);
}

static int take_hello_reply(struct conn *c, uint64_t deadline_ns)
{
	struct codec_error why;
	const uint8_t *msg;
	size_t size;
	int r;

	do
		r = conn_frame(c, deadline_ns, &msg, &size);
	while (r == -EINTR);
	if (r == KVMCPU_END)
		return conn_fail(c, -ECONNRESET,
				 "the daemon closed the connection before it answered: its log "
				 "says why");
	if (r == -EAGAIN)
		return conn_fail(c, -ETIMEDOUT, "the daemon did not answer in time");
	if (r < 0)
		return r;
	r = codec_unpack_hello_reply(msg, size, &c->hello_arena, &c->hello, &why);
	if (r < 0)
		return conn_fail(c, r == -ENOMEM ? r : -EPROTO,
				 "what answers is no kvmcpud, or one of another version: %s",
				 why.text);
	return c->hello.status == KVMCPU_HELLO_OK ? 0 : refusal(c, &c->hello);
}

static int open_and_greet(struct conn *c, const struct kvmcpu_peer *peer, const char *file,
			  struct kvmcpu_hello *hello)
{
	uint64_t deadline_ns = conn_deadline(c->timeout_ns);
	char path[256];
	int r;

	if (c->in == NULL || c->out == NULL)
		return conn_fail(c, -ENOMEM, "no memory for a connection");
	r = sock_path(path, sizeof(path), peer->runtime_dir,
		      peer->vm != NULL ? peer->vm : KVMCPU_DEFAULT_VM, file);
	if (r == 0)
		r = c->fd = sock_connect(path);
	if (r < 0) {
		c->fd = -1;
		return explain_connect(r, peer, file, c->error, sizeof(c->error));
	}
	hello->major = KVMCPU_PROTOCOL_MAJOR;
	hello->minor = KVMCPU_PROTOCOL_MINOR;
	hello->client = peer->client != NULL ? peer->client : default_client();
	hello->takes_descriptors = true;
	r = send_hello(c, hello, deadline_ns);
	/* A refusal may be there although the daemon has closed already. */
	if (r < 0 && r != -ECONNRESET)
		return r;
	return take_hello_reply(c, deadline_ns);
}

int conn_open(struct conn *c, const struct kvmcpu_peer *peer, const char *file, size_t frame_max,
	      struct kvmcpu_hello *hello, struct kvmcpu_error *err)
{
	int r;

	c->frame_max = frame_max;
	c->in_size = FRAME_HEADER_MAX + frame_max;
	c->in = malloc(c->in_size);
	c->out = malloc(FRAME_HEADER_MAX + KVMCPU_HELLO_FRAME_MAX);
	c->takes_fd = true;
	c->timeout_ns = peer->timeout_ns != 0 ? peer->timeout_ns : DEFAULT_TIMEOUT_NS;
	r = open_and_greet(c, peer, file, hello);
	if (r < 0 && err != NULL) {
		err->status = c->hello.status;
		snprintf(err->text, sizeof(err->text), "%s", c->error);
	}
	return r;
}
