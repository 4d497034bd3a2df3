/* SPDX-License-Identifier: MIT
 *
 * Receiving is bounded by the role's largest frame, sending by a quota, and the
 * time until Hello by a timer, so no peer can hold more than that. A callback
 * may end the session it is called for: session_end only marks it while
 * somebody is inside.
 */
#include "config.h"

#include "session.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "channel.h"
#include "frame.h"
#include "log.h"
#include "vm.h"

#define QUEUE_QUOTA (8u << 20)				 /* bytes; a few of the largest frames */
#define HELLO_ARENA (6u << 20)				 /* bytes: 16384 claims with names */
static const struct timeval hello_time = {.tv_sec = 10}; /* picked, not tuned */

struct out_frame {
	TAILQ_ENTRY(out_frame) entry;
	int fd; /* owned; -1 for none */
	size_t size, done;
	uint8_t data[];
};

static const struct role *const roles[] = {
    [KVMCPU_ROLE_DEVICE] = &device_role,
    [KVMCPU_ROLE_MONITOR] = &monitor_role,
    [KVMCPU_ROLE_CONTROL] = &control_role,
};

static void frame_free(struct session *s, struct out_frame *f)
{
	TAILQ_REMOVE(&s->queue, f, entry);
	s->queued_bytes -= f->size - f->done;
	if (f->fd >= 0)
		close(f->fd);
	free(f);
}

static void session_free(struct session *s)
{
	struct out_frame *f;

	while ((f = TAILQ_FIRST(&s->queue)) != NULL)
		frame_free(s, f);
	if (s->readable != NULL)
		event_free(s->readable);
	if (s->writable != NULL)
		event_free(s->writable);
	if (s->hello_timer != NULL)
		event_free(s->hello_timer);
	if (s->fd >= 0)
		close(s->fd);
	free(s->rx);
	free(s);
}

void session_end(struct session *s)
{
	if (!s->ended) {
		s->ended = true;
		TAILQ_REMOVE(&s->loop->sessions, s, entry);
		s->loop->n_sessions--;
		if (s->greeted && s->role->ended != NULL)
			s->role->ended(s);
		if (s->greeted)
			log_debug("client %u \"%s\" (%s) has gone", s->client_id, s->name,
				  codec_role_name(s->role_id));
	}
	if (s->inside == 0)
		session_free(s);
}

static void leave(struct session *s)
{
	if (--s->inside == 0 && s->ended)
		session_free(s);
}

bool session_queue_empty(const struct session *s)
{
	return TAILQ_EMPTY(&s->queue);
}

/* Sends what fits now. */
static void flush(struct session *s)
{
	struct out_frame *f;

	while ((f = TAILQ_FIRST(&s->queue)) != NULL) {
		ssize_t n = sock_send_now(s->fd, f->data + f->done, f->size - f->done,
					  f->done == 0 ? f->fd : -1);
		if (n == -EAGAIN) {
			event_add(s->writable, NULL);
			return;
		}
		if (n < 0) {
			session_end(s);
			return;
		}
		f->done += (size_t)n;
		s->queued_bytes -= (size_t)n;
		if (f->done == f->size)
			frame_free(s, f);
	}
	event_del(s->writable);
	if (s->closing)
		session_end(s);
}

int session_send(struct session *s, const uint8_t *data, size_t size, int fd)
{
	struct out_frame *f;
	size_t header;

	if (s->ended || s->closing)
		return -ENOTCONN;
	f = malloc(sizeof(*f) + FRAME_HEADER_MAX + size);
	if (f == NULL || s->queued_bytes + size > QUEUE_QUOTA) {
		log_warn("client %u \"%s\" does not read its answers: cut off", s->client_id,
			 s->name);
		free(f);
		session_end(s);
		return -ENOBUFS;
	}
	header = frame_put_header(f->data, size);
	memcpy(f->data + header, data, size);
	f->size = header + size;
	f->done = 0;
	f->fd = fd >= 0 ? dup(fd) : -1;
	s->queued_bytes += f->size;
	TAILQ_INSERT_TAIL(&s->queue, f, entry);
	if (TAILQ_FIRST(&s->queue) != f)
		return 0;
	s->inside++;
	flush(s);
	bool ended = s->ended;
	leave(s);
	return ended ? -ENOTCONN : 0;
}

static int send_hello_reply(struct session *s, struct kvmcpu_hello_reply *r, int fd)
{
	uint8_t buf[2048];
	int size;

	r->major = KVMCPU_PROTOCOL_MAJOR;
	r->minor = KVMCPU_PROTOCOL_MINOR;
	r->daemon_version = PACKAGE_VERSION;
	vm_info(s->loop->vm, &r->vm);
	size = codec_pack_hello_reply(r, buf, sizeof(buf));
	return size < 0 ? size : session_send(s, buf, (size_t)size, fd);
}

void session_refuse(struct session *s, enum kvmcpu_hello_status status, const char *message)
{
	struct kvmcpu_hello_reply r = {.status = status, .message = message};

	log_warn("pid %d \"%s\" refused on %s.sock: %s", (int)s->peer.pid, s->name,
		 codec_role_name(s->role_id), message);
	s->inside++;
	(void)send_hello_reply(s, &r, -1);
	s->closing = true;
	if (!s->ended && session_queue_empty(s))
		session_end(s);
	leave(s);
}

void session_cut_off(struct session *s, const char *text)
{
	log_warn("client %u \"%s\" is cut off: %s", s->client_id, s->name, text);
	s->inside++;
	if (s->role->reproach != NULL)
		s->role->reproach(s, text);
	s->closing = true;
	if (!s->ended && session_queue_empty(s))
		session_end(s);
	if (!s->ended) {
		event_del(s->readable);
		event_add(s->hello_timer, &hello_time); /* if it does not read them */
	}
	leave(s);
}

int session_welcome(struct session *s, const struct kvmcpu_memory_map *memory, int memory_fd)
{
	struct kvmcpu_hello_reply r = {.status = KVMCPU_HELLO_OK, .client_id = s->client_id};

	if (memory != NULL) {
		r.has_memory = true;
		r.memory = *memory;
	}
	s->greeted = true;
	event_del(s->hello_timer);
	log_debug("client %u \"%s\" (%s, pid %d) connected", s->client_id, s->name,
		  codec_role_name(s->role_id), (int)s->peer.pid);
	return send_hello_reply(s, &r, memory_fd);
}

static void take_hello(struct session *s, const uint8_t *data, size_t size)
{
	struct codec_arena arena;
	struct codec_error err;
	struct kvmcpu_hello hello = {0};
	char text[300];
	int r;

	codec_arena_growing(&arena, HELLO_ARENA);
	r = codec_unpack_hello(data, size, &arena, &hello, &err);
	if (r == 0 && hello.client != NULL)
		snprintf(s->name, sizeof(s->name), "%s", hello.client);
	if (r < 0) {
		session_refuse(s, KVMCPU_HELLO_INVALID, err.text);
	} else if (hello.major != KVMCPU_PROTOCOL_MAJOR) {
		snprintf(
		    text, sizeof(text),
		    "the client speaks protocol %u.%u, this daemon %d.%d: use a client of major "
		    "version %d",
		    hello.major, hello.minor, KVMCPU_PROTOCOL_MAJOR, KVMCPU_PROTOCOL_MINOR,
		    KVMCPU_PROTOCOL_MAJOR);
		session_refuse(s, KVMCPU_HELLO_VERSION, text);
	} else if (hello.role != s->role_id) {
		snprintf(text, sizeof(text), "this is %s.sock, but the Hello is for the role %s",
			 codec_role_name(s->role_id), codec_role_name(hello.role));
		session_refuse(s, KVMCPU_HELLO_INVALID, text);
	} else {
		s->takes_descriptors = hello.takes_descriptors;
		s->role->greet(s, &hello);
	}
	codec_arena_free(&arena);
}

static void drop_rx(struct session *s, size_t n)
{
	memmove(s->rx, s->rx + n, s->rx_used - n);
	s->rx_used -= n;
}

static void bad_frame(struct session *s, int r)
{
	const char *text = r == -EMSGSIZE ? "the frame is longer than this socket takes"
					  : "no frame begins with such bytes";

	if (s->greeted)
		session_cut_off(s, text);
	else
		session_refuse(s, KVMCPU_HELLO_INVALID, text);
}

static void take_frames(struct session *s)
{
	s->inside++;
	while (!s->ended && !s->closing && !s->busy) {
		size_t header, size;
		int r = frame_parse(s->rx, s->rx_used, s->role->max_frame, &header, &size);
		if (r < 0)
			bad_frame(s, r);
		if (r <= 0)
			break;
		s->rx_behind = s->rx_used - header - size;
		if (s->greeted)
			s->role->frame(s, s->rx + header, size);
		else
			take_hello(s, s->rx + header, size);
		if (!s->ended)
			drop_rx(s, header + size);
	}
	leave(s);
}

void session_leave_and_resume(struct session *s)
{
	if (!s->ended) {
		s->busy = false;
		event_add(s->readable, NULL);
		take_frames(s);
	}
	leave(s);
}

void session_describe(const struct session *s, struct kvmcpu_client_info *ret)
{
	*ret = (struct kvmcpu_client_info){
	    .client_id = s->client_id,
	    .role = s->role_id,
	    .name = s->name,
	    .pid = (uint32_t)s->peer.pid,
	    .uid = s->peer.uid,
	    .connected_ns = s->connected_ns,
	    .served = s->channel != NULL ? atomic_load(&s->channel->served) : s->served,
	    .lost = s->lost,
	};
}

static int make_room(struct session *s)
{
	size_t max = s->role->max_frame + FRAME_HEADER_MAX;
	size_t room = s->rx_room == 0 ? 4096 : s->rx_room * 2;
	uint8_t *rx;

	if (s->rx_used < s->rx_room)
		return 0;
	if (s->rx_room >= max)
		return -ENOBUFS;
	if (room > max)
		room = max;
	rx = realloc(s->rx, room);
	if (rx == NULL)
		return -ENOMEM;
	s->rx = rx;
	s->rx_room = room;
	return 0;
}

/* The peer closed; in the middle of a frame that is worth a word. */
static void tell_cut_short(const struct session *s)
{
	if (s->rx_used == 0 || s->busy || s->closing)
		return;
	if (s->greeted)
		log_warn("client %u \"%s\" closed the connection within a frame", s->client_id,
			 s->name);
	else
		log_warn("pid %d closed %s.sock within its Hello", (int)s->peer.pid,
			 codec_role_name(s->role_id));
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;
	ssize_t n;

	if (make_room(s) < 0) {
		/* A busy session has its fill; the rest waits in the socket. */
		if (s->busy)
			event_del(s->readable);
		else
			session_end(s);
		return;
	}
	n = sock_recv_now(s->fd, s->rx + s->rx_used, s->rx_room - s->rx_used, NULL);
	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		tell_cut_short(s);
		session_end(s);
		return;
	}
	s->rx_used += (size_t)n;
	take_frames(s);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	s->inside++;
	flush(s);
	if (!s->ended && s->greeted && session_queue_empty(s) && s->role->drained != NULL)
		s->role->drained(s);
	leave(s);
}

static void on_hello_late(evutil_socket_t fd, short what, void *arg)
{
	struct session *s = arg;

	if (s->closing)
		session_end(s); /* it does not even read its refusal */
	else
		session_refuse(s, KVMCPU_HELLO_INVALID, "no Hello came within 10 seconds");
}

struct session *session_new(struct loop *l, enum kvmcpu_role role, int fd,
			    const struct sock_peer *peer)
{
	struct session *s;

	if (l->n_sessions >= LOOP_MAX_SESSIONS || (s = calloc(1, sizeof(*s))) == NULL)
		return NULL;
	TAILQ_INIT(&s->queue);
	s->loop = l;
	s->role_id = role;
	s->role = roles[role];
	s->peer = *peer;
	s->client_id = l->next_client_id++;
	s->connected_ns = sock_now_ns();
	s->readable = event_new(l->base, fd, EV_READ | EV_PERSIST, on_readable, s);
	s->writable = event_new(l->base, fd, EV_WRITE | EV_PERSIST, on_writable, s);
	s->hello_timer = evtimer_new(l->base, on_hello_late, s);
	if (s->readable == NULL || s->writable == NULL || s->hello_timer == NULL ||
	    event_add(s->readable, NULL) < 0) {
		s->fd = -1;
		session_free(s);
		return NULL;
	}
	event_add(s->hello_timer, &hello_time);
	s->fd = fd;
	TAILQ_INSERT_TAIL(&l->sessions, s, entry);
	l->n_sessions++;
	return s;
}
