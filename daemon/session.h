/* SPDX-License-Identifier: MIT
 *
 * One connection, as the loop sees it: frames in, frames out, and what its role
 * does with them. L only.
 *
 * A session begins by waiting for Hello; then its role takes over. Frames that
 * cannot be sent at once are queued; a session whose queue holds more than its
 * quota is ended, and roles that stream look at the queue before they add to it.
 */
#ifndef KVMCPUD_SESSION_H
#define KVMCPUD_SESSION_H

#include <sys/queue.h>

#include "codec.h"
#include "loop.h"
#include "sock.h"
#include "types.h"

struct channel;
struct monitor;
struct out_frame;
struct session;

/* What a role does. Only frame is required. */
struct role {
	/* The Hello has been understood; refuse with session_refuse, else send the
	 * reply with session_welcome. */
	void (*greet)(struct session *s, const struct kvmcpu_hello *hello);
	/* A frame behind Hello. */
	void (*frame)(struct session *s, const uint8_t *data, size_t size);
	/* The queue had to wait for the peer, and has run empty. */
	void (*drained)(struct session *s);
	/* Last words to a greeted peer that is cut off. */
	void (*reproach)(struct session *s, const char *text);
	/* The connection ends: give back what the role holds. */
	void (*ended)(struct session *s);
	size_t max_frame;
};

extern const struct role device_role, monitor_role, control_role;

struct session {
	TAILQ_ENTRY(session) entry;
	struct loop *loop;
	enum kvmcpu_role role_id;
	const struct role *role;
	int fd; /* owned until device takes it over */
	struct sock_peer peer;
	uint32_t client_id;
	char name[KVMCPU_MAX_NAME + 1];
	bool greeted, takes_descriptors;
	bool busy;    /* a request is under way: no further frame is taken */
	bool closing; /* ends when the queue is empty */
	bool ended;   /* frees itself as soon as nobody is inside it */
	unsigned inside;
	uint64_t connected_ns, served, lost;
	struct event *readable, *writable, *hello_timer;

	uint8_t *rx; /* owned */
	size_t rx_used, rx_room;
	size_t rx_behind; /* bytes behind the frame being taken */
	TAILQ_HEAD(, out_frame) queue;
	size_t queued_bytes;

	/* The role's; owned. */
	struct channel *channel;
	struct monitor *monitor;
	struct pending *pending;
};

/* Takes fd over. NULL if there is no memory or there are too many sessions; fd
 * is NOT consumed then. */
struct session *session_new(struct loop *l, enum kvmcpu_role role, int fd,
			    const struct sock_peer *peer);
/* Ends it now. The session may not be used any more. */
void session_end(struct session *s);

/* Queues one frame. fd, if not -1, travels with its first byte; it is NOT
 * consumed. 0; or -ENOBUFS or -ENOTCONN: the session has ended, and unless the
 * caller runs in one of its role's functions it is gone. */
int session_send(struct session *s, const uint8_t *data, size_t size, int fd);
bool session_queue_empty(const struct session *s);
/* Refuses the Hello and ends the session once that is sent. */
void session_refuse(struct session *s, enum kvmcpu_hello_status status, const char *message);
/* Ends a greeted session for what its peer sent, once its last words are sent. */
void session_cut_off(struct session *s, const char *text);
/* Accepts it. memory may be NULL; memory_fd is NOT consumed. 0 or -errno. */
int session_welcome(struct session *s, const struct kvmcpu_memory_map *memory, int memory_fd);
/* Lets a busy session take its next frame, behind an inside++ of the caller,
 * which this takes back. */
void session_leave_and_resume(struct session *s);
void session_describe(const struct session *s, struct kvmcpu_client_info *ret);

#endif
