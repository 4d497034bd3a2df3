/* SPDX-License-Identifier: MIT
 *
 * The file system decides who may connect. SO_PEERCRED is looked at as well: on
 * a socket that only its owner can open, a peer that is neither the owner nor
 * root got its descriptor by a way that nobody meant.
 *
 * When descriptors run out the listener rests for a while, else the loop would
 * spin on a connection that it cannot accept.
 */
#include "config.h"

#include "listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <event2/event.h>

#include "codec.h"
#include "frame.h"
#include "log.h"
#include "session.h"
#include "sock.h"

static const struct timeval rest_time = {.tv_usec = 200000}; /* picked, not tuned */

struct listener {
	struct loop *loop;
	enum kvmcpu_role role;
	int fd;
	struct event *readable, *rested;
	struct stat file;
	char path[256];
};

static bool may_connect(const struct listener *li, const struct sock_peer *peer)
{
	if (peer->uid == 0 || peer->uid == geteuid() || peer->uid == li->file.st_uid)
		return true;
	return (li->file.st_mode & (S_IWGRP | S_IWOTH)) != 0;
}

/* There is no session to refuse it: the reply fits the socket, or is lost. */
static void refuse_one_too_many(struct listener *li, int fd, const struct sock_peer *peer)
{
	struct kvmcpu_hello_reply r = {.status = KVMCPU_HELLO_LIMIT,
				       .major = KVMCPU_PROTOCOL_MAJOR,
				       .minor = KVMCPU_PROTOCOL_MINOR,
				       .daemon_version = PACKAGE_VERSION};
	uint8_t packed[512], frame[FRAME_HEADER_MAX + sizeof(packed)];
	char text[100];

	snprintf(text, sizeof(text), "no memory, or more than %d clients: end some of them",
		 LOOP_MAX_SESSIONS);
	r.message = text;
	log_warn("pid %d refused on %s.sock: %s", (int)peer->pid, codec_role_name(li->role), text);
	int size = codec_pack_hello_reply(&r, packed, sizeof(packed));
	if (size < 0)
		return;
	size_t header = frame_put_header(frame, (size_t)size);
	memcpy(frame + header, packed, (size_t)size);
	(void)sock_send_now(fd, frame, header + (size_t)size, -1);
}

static void accept_one(struct listener *li, int fd)
{
	struct sock_peer peer;
	int r = sock_peer(fd, &peer);

	/* An operator may have changed the mode since. */
	if (r == 0)
		(void)stat(li->path, &li->file);
	if (r < 0 || !may_connect(li, &peer)) {
		log_warn("%s: refused pid %d of user %u", li->path, (int)peer.pid,
			 (unsigned)peer.uid);
		close(fd);
		return;
	}
	if (session_new(li->loop, li->role, fd, &peer) == NULL) {
		refuse_one_too_many(li, fd, &peer);
		close(fd);
	}
}

static void on_readable(evutil_socket_t listen_fd, short what, void *arg)
{
	struct listener *li = arg;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0) {
		accept_one(li, fd);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
		log_warn("%s: cannot accept: %s", li->path, strerror(errno));
		event_del(li->readable);
		event_add(li->rested, &rest_time);
	}
}

static void on_rested(evutil_socket_t fd, short what, void *arg)
{
	struct listener *li = arg;

	event_add(li->readable, NULL);
}

struct listener *listener_new(struct loop *l, enum kvmcpu_role role, const char *directory,
			      struct fault *f)
{
	struct listener *li = calloc(1, sizeof(*li));

	if (li == NULL) {
		fault_set(f, STATUS_OS, "no memory left");
		return NULL;
	}
	li->loop = l;
	li->role = role;
	snprintf(li->path, sizeof(li->path), "%s/%s.sock", directory, codec_role_name(role));
	li->fd = sock_listen(li->path);
	if (li->fd < 0) {
		fault_set(f, STATUS_RUNTIME, "cannot listen at %s: %s", li->path,
			  strerror(-li->fd));
		free(li);
		return NULL;
	}
	(void)stat(li->path, &li->file);
	li->readable = event_new(l->base, li->fd, EV_READ | EV_PERSIST, on_readable, li);
	li->rested = evtimer_new(l->base, on_rested, li);
	if (li->readable != NULL && li->rested != NULL && event_add(li->readable, NULL) == 0)
		return li;
	listener_free(li);
	fault_set(f, STATUS_OS, "no memory left");
	return NULL;
}

void listener_free(struct listener *li)
{
	if (li == NULL)
		return;
	if (li->readable != NULL)
		event_free(li->readable);
	if (li->rested != NULL)
		event_free(li->rested);
	unlink(li->path);
	close(li->fd);
	free(li);
}
