/* SPDX-License-Identifier: MIT
 *
 * A device channel: strictly exit, reply, exit, reply. An exit costs one recv, an
 * unpack into an arena that was there before, a pack and one send; nothing is
 * allocated. A reply is held against its exit here, since the daemon would cut
 * the channel off for a wrong one.
 */
#include "config.h"

#include "kvmcpu.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"

/* An unpacked exit holds its bytes twice at most, and a few small structures. */
#define EXIT_ARENA (2 * KVMCPU_DEVICE_FRAME_MAX + 16384)

struct kvmcpu_device {
	struct conn conn;
	struct codec_arena arena;
	struct kvmcpu_exit exit; /* in arena */
	bool unanswered;
	int ended; /* KVMCPU_END or an error: what every later call returns */
	uint8_t answer[KVMCPU_PIO_MAX];
	uint8_t block[EXIT_ARENA];
};

int kvmcpu_device_new(const struct kvmcpu_device_options *options, struct kvmcpu_device **ret,
		      struct kvmcpu_error *err)
{
	struct kvmcpu_hello hello = {.role = KVMCPU_ROLE_DEVICE};
	struct kvmcpu_device *d = malloc(sizeof(*d));
	int r;

	if (d == NULL)
		return conn_refuse(err, -ENOMEM, "no memory for a device channel");
	d->unanswered = false;
	d->ended = 0;
	codec_arena_fixed(&d->arena, d->block, sizeof(d->block));
	conn_init(&d->conn);
	hello.device.claims = options->claims;
	hello.device.n_claims = options->n_claims;
	hello.device.vcpu_mask = options->vcpu_mask;
	r = conn_open(&d->conn, &options->peer, "device.sock", KVMCPU_DEVICE_FRAME_MAX, &hello,
		      err);
	if (r < 0) {
		kvmcpu_device_free(d);
		return r;
	}
	d->conn.takes_fd = false;
	*ret = d;
	return 0;
}

void kvmcpu_device_free(struct kvmcpu_device *d)
{
	if (d == NULL)
		return;
	conn_close(&d->conn);
	free(d);
}

int kvmcpu_device_fd(const struct kvmcpu_device *d)
{
	return d->conn.fd;
}

const struct kvmcpu_hello_reply *kvmcpu_device_hello(const struct kvmcpu_device *d)
{
	return &d->conn.hello;
}

const char *kvmcpu_device_error(const struct kvmcpu_device *d)
{
	return d->conn.error;
}

static int take_notice(struct kvmcpu_device *d)
{
	const char *message = d->exit.notice.message;
	enum kvmcpu_notice code = d->exit.notice.code;

	if (message == NULL || message[0] == '\0')
		message = code == KVMCPU_NOTICE_STOPPED ? "the VM has ended"
			  : code == KVMCPU_NOTICE_RESET ? "the VM was reset"
							: "it gave no reason";
	if (code == KVMCPU_NOTICE_STOPPED)
		return conn_fail(&d->conn, KVMCPU_END, "%s", message);
	if (code == KVMCPU_NOTICE_RESET)
		return conn_fail(&d->conn, KVMCPU_RESET, "%s", message);
	return conn_fail(&d->conn, -EPROTO, "the daemon has cut this channel off: %s", message);
}

static int take_exit(struct kvmcpu_device *d, const uint8_t *msg, size_t size)
{
	struct codec_error why;
	int r;

	codec_arena_reset(&d->arena);
	r = codec_unpack_exit(msg, size, &d->arena, &d->exit, &why);
	if (r < 0)
		return conn_fail(&d->conn, -EPROTO, "the daemon sent no valid exit: %s", why.text);
	if (d->exit.kind == KVMCPU_EXIT_NOTICE)
		return take_notice(d);
	d->unanswered = true;
	return 0;
}

int kvmcpu_device_next(struct kvmcpu_device *d, uint64_t timeout_ns,
		       const struct kvmcpu_exit **ret_exit)
{
	const uint8_t *msg;
	size_t size;
	int r;

	if (d->ended != 0)
		return d->ended;
	if (d->unanswered)
		return conn_fail(&d->conn, -EBUSY, "exit %llu of vCPU %u is not answered",
				 (unsigned long long)d->exit.seq, d->exit.vcpu);
	r = conn_frame(&d->conn, conn_deadline(timeout_ns), &msg, &size);
	if (r == -EAGAIN || r == -EINTR)
		return r;
	if (r == 0)
		r = take_exit(d, msg, size);
	if (r != 0) {
		d->ended = r;
		return r;
	}
	*ret_exit = &d->exit;
	return 0;
}

static int send_reply(struct kvmcpu_device *d, const struct kvmcpu_reply *reply)
{
	int r = codec_pack_reply(reply, conn_body(&d->conn), d->conn.frame_max);

	if (r == -ENOSPC)
		return conn_fail(&d->conn, -EMSGSIZE,
				 "the reply with its effects is longer than a frame of %zu bytes",
				 d->conn.frame_max);
	if (r < 0)
		return conn_fail(&d->conn, -EINVAL, "the reply cannot be encoded");
	r = conn_send(&d->conn, (size_t)r, UINT64_MAX);
	/* The daemon's last words may still lie in the socket: next tells. */
	if (r == -ECONNRESET)
		r = 0;
	if (r == 0)
		d->unanswered = false;
	return r;
}

int kvmcpu_device_reply(struct kvmcpu_device *d, const struct kvmcpu_reply *reply)
{
	struct kvmcpu_reply r = *reply;
	struct codec_error why;

	if (!d->unanswered)
		return conn_fail(&d->conn, -EINVAL, "no exit is to be answered");
	if (r.seq == 0)
		r.seq = d->exit.seq;
	if (r.status == 0)
		r.status = KVMCPU_REPLY_OK;
	if (r.status == KVMCPU_REPLY_BUS_ERROR)
		r.data_size = 0;
	if (codec_check_reply(&d->exit, &r, &why) < 0)
		return conn_fail(&d->conn, -EINVAL, "the reply does not fit its exit: %s",
				 why.text);
	return send_reply(d, &r);
}

/* ---- the loop around them ---- */

/* How many bytes of data an OK to this exit carries. */
static size_t answer_size(const struct kvmcpu_exit *x)
{
	switch (x->kind) {
	case KVMCPU_EXIT_PIO:
	case KVMCPU_EXIT_MMIO:
	case KVMCPU_EXIT_MSR:
		/* The codec has seen to it that the product is at most a page. */
		return x->direction == KVMCPU_READ ? (size_t)x->size * x->count : 0;
	case KVMCPU_EXIT_HYPERCALL:
		return 8;
	default:
		return 0;
	}
}

static int serve(struct kvmcpu_device *d, kvmcpu_device_handler handler, void *arg)
{
	struct kvmcpu_reply reply = {.seq = d->exit.seq, .status = KVMCPU_REPLY_OK};
	size_t size = answer_size(&d->exit);
	int r, value;

	if (size > sizeof(d->answer))
		return conn_fail(&d->conn, -EPROTO, "an exit asks for %zu bytes", size);
	if (size > 0) {
		memset(d->answer, 0xff, size);
		reply.data = d->answer;
		reply.data_size = size;
	}
	value = handler(arg, &d->exit, size > 0 ? d->answer : NULL, &reply);
	if (value < 0)
		return value;
	r = kvmcpu_device_reply(d, &reply);
	return r < 0 ? r : value;
}

int kvmcpu_device_dispatch(struct kvmcpu_device *d, kvmcpu_device_handler handler, void *arg)
{
	const struct kvmcpu_exit *x;
	int r;

	do {
		r = kvmcpu_device_next(d, 0, &x);
		if (r == 0)
			r = serve(d, handler, arg);
	} while (r == 0);
	return r == -EAGAIN ? 0 : r;
}

int kvmcpu_device_run(struct kvmcpu_device *d, kvmcpu_device_handler handler, void *arg)
{
	const struct kvmcpu_exit *x;
	int r;

	for (;;) {
		r = kvmcpu_device_next(d, KVMCPU_FOREVER, &x);
		if (r != 0)
			return r == KVMCPU_END ? 0 : r;
		r = serve(d, handler, arg);
		if (r != 0)
			return r;
	}
}
