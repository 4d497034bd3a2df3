/* SPDX-License-Identifier: MIT
 *
 * One exchange: take the turn, write the frame, wait, read the frame, check it.
 * Two system calls besides the wait; the price of an exit is the two thread
 * wake-ups, not this code.
 *
 * The end of a peer shows as an end of the stream. What it sent before it died
 * is read first, so a reply that was sent counts even when its sender is gone.
 */
#include "config.h"

#include "channel.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "look.h"
#include "sock.h"
#include "vcpu.h"
#include "vm.h"

struct channel *channel_new(int fd, uint32_t client_id, const char *client)
{
	/* Untouched pages of the buffers cost nothing. */
	struct channel *ch = calloc(1, sizeof(*ch));

	if (ch == NULL)
		return NULL;
	ch->fd = fd;
	ch->client_id = client_id;
	ch->refs = 1;
	snprintf(ch->client, sizeof(ch->client), "%s", client);
	pthread_mutex_init(&ch->turn_lock, NULL);
	codec_arena_fixed(&ch->arena, ch->arena_block, sizeof(ch->arena_block));
	return ch;
}

void channel_ref(struct channel *ch)
{
	ch->refs++;
}

void channel_unref(struct channel *ch)
{
	if (--ch->refs > 0)
		return;
	assert(ch->holder == NULL && ch->first_waiter == NULL);
	close(ch->fd);
	pthread_mutex_destroy(&ch->turn_lock);
	free(ch);
}

static void send_notice(struct channel *ch, enum kvmcpu_notice code, const char *text)
{
	struct kvmcpu_exit x = {.kind = KVMCPU_EXIT_NOTICE, .notice = {code, text}};
	uint8_t buf[FRAME_HEADER_MAX + 512], packed[512];
	int size = codec_pack_exit(&x, packed, sizeof(packed));

	if (size < 0)
		return;
	size_t header = frame_put_header(buf, (size_t)size);
	memcpy(buf + header, packed, (size_t)size);
	/* If it does not fit or nobody reads, the close that follows says enough. */
	(void)sock_send_now(ch->fd, buf, header + (size_t)size, -1);
}

void channel_fail(struct channel *ch, enum kvmcpu_notice code, const char *text)
{
	bool first;

	pthread_mutex_lock(&ch->turn_lock);
	first = !atomic_load(&ch->dead);
	if (first) {
		if (code == KVMCPU_NOTICE_PROTOCOL && text != NULL)
			snprintf(ch->fault, sizeof(ch->fault), "%s", text);
		atomic_store(&ch->dead, true);
	}
	pthread_mutex_unlock(&ch->turn_lock);
	if (!first)
		return;
	if (text != NULL)
		send_notice(ch, code, text);
	/* Writing only: a reply that has arrived can still be read. */
	shutdown(ch->fd, SHUT_WR);
}

static void append_waiter(struct channel *ch, struct vcpu *v)
{
	v->next_waiter = NULL;
	if (ch->first_waiter == NULL)
		ch->first_waiter = v;
	else
		ch->last_waiter->next_waiter = v;
	ch->last_waiter = v;
}

static void remove_waiter(struct channel *ch, struct vcpu *v)
{
	struct vcpu *before = NULL;

	for (struct vcpu *w = ch->first_waiter; w != v; w = w->next_waiter)
		before = w;
	if (before == NULL)
		ch->first_waiter = v->next_waiter;
	else
		before->next_waiter = v->next_waiter;
	if (ch->last_waiter == v)
		ch->last_waiter = before;
}

/* Tries to take the turn, or lines up for it. */
static bool take_or_line_up(struct channel *ch, struct vcpu *v)
{
	bool mine;

	pthread_mutex_lock(&ch->turn_lock);
	mine = ch->holder == NULL;
	if (mine)
		ch->holder = v;
	else
		append_waiter(ch, v);
	pthread_mutex_unlock(&ch->turn_lock);
	return mine;
}

static void give_turn_on(struct channel *ch)
{
	struct vcpu *next;

	pthread_mutex_lock(&ch->turn_lock);
	next = ch->first_waiter;
	if (next != NULL)
		ch->first_waiter = next->next_waiter;
	ch->holder = next;
	pthread_mutex_unlock(&ch->turn_lock);
	if (next != NULL)
		vcpu_kick(next);
}

/* Gives up waiting; false if the turn came in the last moment. */
static bool leave_line(struct channel *ch, struct vcpu *v)
{
	bool left;

	pthread_mutex_lock(&ch->turn_lock);
	left = ch->holder != v;
	if (left)
		remove_waiter(ch, v);
	pthread_mutex_unlock(&ch->turn_lock);
	return left;
}

static bool has_turn(struct channel *ch, struct vcpu *v)
{
	bool mine;

	pthread_mutex_lock(&ch->turn_lock);
	mine = ch->holder == v;
	pthread_mutex_unlock(&ch->turn_lock);
	return mine;
}

static int take_turn(struct channel *ch, struct vcpu *v)
{
	int r = 0;

	if (take_or_line_up(ch, v))
		return 0;
	vcpu_tell_wait_cause(v, KVMCPU_WAIT_TURN);
	while (r == 0 && !has_turn(ch, v))
		r = atomic_load(&ch->dead) ? -ENOTCONN : vcpu_wait(v, -1, 0);
	vcpu_tell_wait_cause(v, KVMCPU_WAIT_REPLY);
	if (r < 0 && !leave_line(ch, v))
		give_turn_on(ch);
	return r;
}

static int send_frame(struct channel *ch, struct vcpu *v, const uint8_t *frame, size_t size)
{
	for (size_t done = 0; done < size;) {
		if (atomic_load(&ch->dead))
			return -ENOTCONN;
		ssize_t n = sock_send_now(ch->fd, frame + done, size - done, -1);
		if (n > 0) {
			done += (size_t)n;
		} else if (n == -EAGAIN) {
			int r = vcpu_wait(v, ch->fd, POLLOUT);
			if (r < 0)
				return r;
		} else {
			channel_fail(ch, KVMCPU_NOTICE_PROTOCOL, NULL);
			return -ENOTCONN;
		}
	}
	return 0;
}

/* Returns 1 when a whole frame is in rx, 0 to read on. */
static int parse_rx(struct channel *ch, size_t *ret_header, size_t *ret_size)
{
	int r = frame_parse(ch->rx, ch->rx_used, KVMCPU_DEVICE_FRAME_MAX, ret_header, ret_size);

	if (r == -EMSGSIZE)
		channel_fail(
		    ch, KVMCPU_NOTICE_PROTOCOL,
		    "a frame is longer than 65536 bytes; send one ExitReply for each Exit");
	else if (r < 0)
		channel_fail(
		    ch, KVMCPU_NOTICE_PROTOCOL,
		    "no frame begins with such bytes; send each message behind its length as a "
		    "varint");
	else if (r == 1 && ch->rx_used > *ret_header + *ret_size) {
		channel_fail(ch, KVMCPU_NOTICE_PROTOCOL,
			     "bytes follow the reply; send one ExitReply for each Exit");
		r = -EPROTO;
	}
	return r < 0 ? -ENOTCONN : r;
}

static ssize_t receive_now(struct channel *ch)
{
	return sock_recv_now(ch->fd, ch->rx + ch->rx_used, sizeof(ch->rx) - ch->rx_used, NULL);
}

/* Looks for bytes for a while; a kick ends it. */
static ssize_t receive_soon(struct channel *ch, struct vcpu *v)
{
	uint64_t began = sock_now_ns(), took;
	ssize_t n;

	do {
		sched_yield();
		n = receive_now(ch);
		took = sock_now_ns() - began;
	} while (n == -EAGAIN && took < LOOK_NS &&
		 !atomic_load_explicit(&v->attention, memory_order_relaxed));
	look_ended(&ch->look, n != -EAGAIN, took);
	return n;
}

/* Waits for bytes. Returns what recv says, -EAGAIN behind a kick, or -ECANCELED. */
static ssize_t receive_some(struct channel *ch, struct vcpu *v)
{
	ssize_t n = look_is_worth(&ch->look) ? receive_soon(ch, v) : -EAGAIN;
	int r;

	if (n != -EAGAIN)
		return n;
	r = vcpu_wait(v, ch->fd, POLLIN);
	return r < 0 ? r : receive_now(ch);
}

static int receive_frame(struct channel *ch, struct vcpu *v, size_t *ret_header, size_t *ret_size)
{
	for (;;) {
		ssize_t n = receive_some(ch, v);
		if (n > 0) {
			ch->rx_used += (size_t)n;
			int r = parse_rx(ch, ret_header, ret_size);
			if (r != 0)
				return r < 0 ? r : 0;
		} else if (n == -ECANCELED) {
			return -ECANCELED;
		} else if (n == -EAGAIN && !atomic_load(&ch->dead)) {
			continue; /* a kick, nothing else */
		} else {
			channel_fail(ch, KVMCPU_NOTICE_PROTOCOL, NULL);
			return -ENOTCONN;
		}
	}
}

static int check(struct vcpu *v, const struct kvmcpu_exit *x, const struct kvmcpu_reply *r,
		 struct codec_error *err)
{
	int status = codec_check_reply(x, r, err);

	if (status == 0 && r->ticks > UINT64_MAX - x->tick) {
		snprintf(err->text, sizeof(err->text),
			 "%llu ticks take the clock of vCPU %u past 2^64 - 1",
			 (unsigned long long)r->ticks, x->vcpu);
		status = -EPROTO;
	}
	for (size_t i = 0; status == 0 && i < r->n_effects; i++)
		status = vm_check_effect(v->vm, &r->effects[i], err);
	return status;
}

static int take_reply(struct channel *ch, struct vcpu *v, const struct kvmcpu_exit *x,
		      struct kvmcpu_reply *ret, const uint8_t **ret_bytes, size_t *ret_size)
{
	struct codec_error err;
	size_t header, size;
	int r = receive_frame(ch, v, &header, &size);

	if (r < 0)
		return r;
	codec_arena_reset(&ch->arena);
	r = codec_unpack_reply(ch->rx + header, size, &ch->arena, ret, &err);
	if (r == 0)
		r = check(v, x, ret, &err);
	if (r < 0) {
		channel_fail(ch, KVMCPU_NOTICE_PROTOCOL, err.text);
		return -ENOTCONN;
	}
	*ret_bytes = ch->rx + header;
	*ret_size = size;
	atomic_fetch_add_explicit(&ch->served, 1, memory_order_relaxed);
	return 0;
}

int channel_call(struct channel *ch, struct vcpu *v, const struct kvmcpu_exit *x, uint8_t *frame,
		 size_t size, struct kvmcpu_reply *ret, const uint8_t **ret_bytes, size_t *ret_size,
		 uint64_t *ret_sent_ns)
{
	uint8_t header[FRAME_HEADER_MAX];
	size_t header_size = frame_put_header(header, size);
	int r = take_turn(ch, v);

	if (r < 0)
		return r;
	while (ch->abandoned && r == 0)
		r = vcpu_wait(v, -1, 0);
	if (r < 0) {
		channel_done(ch);
		return r;
	}
	ch->rx_used = 0;
	memcpy(frame - header_size, header, header_size);
	if (atomic_load(&ch->dead)) {
		channel_done(ch);
		return -ENOTCONN;
	}
	*ret_sent_ns = sock_now_ns();
	r = send_frame(ch, v, frame - header_size, header_size + size);
	if (r < 0)
		*ret_sent_ns = 0; /* not whole, so nobody has seen it */
	if (r == 0)
		r = take_reply(ch, v, x, ret, ret_bytes, ret_size);
	if (r == -ECANCELED)
		ch->abandoned = true;
	if (r < 0)
		channel_done(ch);
	return r;
}

void channel_done(struct channel *ch)
{
	give_turn_on(ch);
}
