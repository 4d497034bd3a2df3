/* SPDX-License-Identifier: MIT
 *
 * The loop's part of a device connection: Hello and the end. In between the
 * channel belongs to the vCPU threads, and the loop only listens for the peer
 * closing its side.
 *
 * The HelloReply goes out before the claims come into force, so that it is the
 * first frame on the connection whatever the guest does.
 */
#include "config.h"

#include "device.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include <event2/event.h>

#include "channel.h"
#include "log.h"
#include "session.h"
#include "vm.h"
#include "x86/msr_filter.h"

/*
 * Some peers have gone. libevent's EV_CLOSED would not do: a peer that leaves bytes
 * unread makes its end an error (ECONNRESET), and for an error libevent runs only
 * those who want to read or write. So the connections are in an epoll of their own.
 */
void device_hung_up(evutil_socket_t fd, short what, void *arg)
{
	struct epoll_event gone;

	while (epoll_wait(fd, &gone, 1, 0) > 0)
		session_end(gone.data.ptr);
}

/* Ends device sessions whose peer has gone, though the loop has not come to
 * that yet. */
static void reap_hung_up(struct loop *l)
{
	struct session *next;

	for (struct session *s = TAILQ_FIRST(&l->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->channel == NULL)
			continue;
		struct pollfd p = {.fd = s->channel->fd, .events = POLLRDHUP};
		if (poll(&p, 1, 0) > 0)
			session_end(s);
	}
}

static bool asks_for(const struct kvmcpu_hello *hello, enum kvmcpu_space space)
{
	for (size_t i = 0; i < hello->device.n_claims; i++)
		if (hello->device.claims[i].space == space)
			return true;
	return false;
}

/* What the claims alone do not tell: whether KVM hands such exits out. */
static int check_kvm(const struct vm *vm, const struct kvmcpu_hello *hello,
		     const struct claim_table *t, struct codec_error *err)
{
	if (asks_for(hello, KVMCPU_SPACE_HYPERCALL) && vm->options->hypercall.kind == 0) {
		snprintf(err->text, sizeof(err->text),
			 "the VM was started with --hypercall none, so hypercalls cannot be "
			 "claimed: start it with another way");
		return -EPROTO;
	}
	return x86_msr_filter_check(vm, t, err);
}

static int try_prepare(struct session *s, const struct kvmcpu_hello *hello, uint64_t mask,
		       struct claim_table **ret, struct codec_error *err)
{
	struct claims *c = &s->loop->vm->claims;
	int r = claims_prepare(c, s->channel, mask, hello->device.claims, hello->device.n_claims,
			       ret, err);

	if (r == 0) {
		r = check_kvm(s->loop->vm, hello, *ret, err);
		if (r < 0)
			claims_abandon(c, *ret);
	}
	return r;
}

static int prepare(struct session *s, const struct kvmcpu_hello *hello, uint64_t mask,
		   struct claim_table **ret, struct codec_error *err)
{
	int r = try_prepare(s, hello, mask, ret, err);

	if (r != -EEXIST)
		return r;
	/* A client may come back sooner than the loop hears that it went. */
	reap_hung_up(s->loop);
	return try_prepare(s, hello, mask, ret, err);
}

static uint64_t all_vcpus(const struct vm *vm)
{
	return vm->n_vcpus == 64 ? UINT64_MAX : (1ull << vm->n_vcpus) - 1;
}

/* Gives the descriptor to the vCPU threads; the loop keeps watch. */
static bool hand_over(struct session *s)
{
	struct epoll_event gone = {.events = EPOLLRDHUP, .data.ptr = s};

	event_free(s->readable);
	s->readable = NULL;
	s->fd = -1;
	return epoll_ctl(s->loop->hang_ups, EPOLL_CTL_ADD, s->channel->fd, &gone) == 0;
}

static void refuse_claims(struct session *s, int r, const struct codec_error *err)
{
	enum kvmcpu_hello_status status = r == -EEXIST	 ? KVMCPU_HELLO_OVERLAP
					  : r == -EPROTO ? KVMCPU_HELLO_INVALID
							 : KVMCPU_HELLO_LIMIT;

	session_refuse(s, status, r == -ENOMEM ? "the daemon has no memory left" : err->text);
}

static void device_greet(struct session *s, const struct kvmcpu_hello *hello)
{
	struct vm *vm = s->loop->vm;
	uint64_t mask = hello->device.vcpu_mask ? hello->device.vcpu_mask : all_vcpus(vm);
	struct claim_table *table;
	struct codec_error err;
	char text[100];
	int r;

	if (mask & ~all_vcpus(vm)) {
		snprintf(text, sizeof(text), "the Hello names vCPU %d; the VM has %u",
			 63 - __builtin_clzll(mask), vm->n_vcpus);
		session_refuse(s, KVMCPU_HELLO_INVALID, text);
		return;
	}
	if (s->rx_behind > 0) {
		session_refuse(s, KVMCPU_HELLO_INVALID, "bytes follow the Hello; wait for an Exit");
		return;
	}
	s->channel = channel_new(s->fd, s->client_id, s->name);
	r = s->channel == NULL ? -ENOMEM : prepare(s, hello, mask, &table, &err);
	if (r < 0) {
		if (s->channel != NULL) {
			s->channel->fd = -1; /* stays the session's */
			channel_unref(s->channel);
			s->channel = NULL;
		}
		refuse_claims(s, r, &err);
		return;
	}
	if (session_welcome(s, NULL, -1) < 0 || !session_queue_empty(s) || !hand_over(s)) {
		claims_abandon(&vm->claims, table);
		s->fd = -1;
		session_end(s);
		return;
	}
	claims_commit(&vm->claims, table);
	/* Behind the claims, so that no access comes out for which there are none yet. */
	r = x86_msr_filter_set(vm);
	if (r < 0)
		log_error("KVM refuses the filter for client %u's MSRs, so it sees none: %s",
			  s->client_id, strerror(-r));
	log_info("client %u \"%s\" (pid %d) answers %zu claims", s->client_id, s->name,
		 (int)s->peer.pid, hello->device.n_claims);
	loop_kick_all(s->loop);
}

static void device_frame(struct session *s, const uint8_t *data, size_t size)
{
	/* Nothing is read here behind Hello. */
}

static void device_ended(struct session *s)
{
	struct channel *ch = s->channel;

	if (ch == NULL)
		return;
	if (ch->fault[0] != '\0')
		log_warn("client %u \"%s\" is cut off: %s", s->client_id, s->name, ch->fault);
	else
		log_info("client %u \"%s\" has gone", s->client_id, s->name);
	channel_fail(ch, KVMCPU_NOTICE_PROTOCOL, NULL);
	/* If there is no memory for it, the channel being dead says the same. */
	(void)claims_orphan(&s->loop->vm->claims, ch);
	/* It may have come here before it was handed over. */
	(void)epoll_ctl(s->loop->hang_ups, EPOLL_CTL_DEL, ch->fd, NULL);
	if (s->readable != NULL)
		event_free(s->readable); /* before its descriptor can be closed */
	s->readable = NULL;
	s->channel = NULL;
	channel_unref(ch);
	loop_kick_all(s->loop);
}

const struct role device_role = {
    .greet = device_greet,
    .frame = device_frame,
    .ended = device_ended,
    .max_frame = KVMCPU_HELLO_FRAME_MAX, /* the only one that is read here */
};

void device_reset_all(struct loop *l)
{
	struct session *next;

	for (struct session *s = TAILQ_FIRST(&l->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->channel == NULL)
			continue;
		channel_fail(s->channel, KVMCPU_NOTICE_RESET,
			     "the VM starts again: connect as a device that was just switched on");
		session_end(s);
	}
}

void device_reap(struct loop *l)
{
	struct session *next;

	for (struct session *s = TAILQ_FIRST(&l->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->channel != NULL && atomic_load(&s->channel->dead))
			session_end(s);
	}
}
