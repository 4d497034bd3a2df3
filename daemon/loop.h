/* SPDX-License-Identifier: MIT
 *
 * L, the event loop: it accepts, greets, answers requests, feeds monitors and
 * notices what vCPU threads have left for it. It never blocks while the VM
 * runs, and libevent is known to its files alone: loop, listener, session,
 * device, monitor, control.
 */
#ifndef KVMCPUD_LOOP_H
#define KVMCPUD_LOOP_H

#include <sys/queue.h>

#include "fault.h"
#include "types.h"

struct event;
struct event_base;
struct session;
struct vm;

#define LOOP_MAX_SESSIONS 1024 /* picked; each takes a descriptor */

TAILQ_HEAD(session_list, session);

struct loop {
	struct vm *vm;
	struct event_base *base;
	struct session_list sessions;
	unsigned n_sessions;
	uint32_t next_client_id;
	struct listener *listeners[KVMCPU_ROLE_CONTROL + 1];
	struct event *notify, *sigterm, *sigint, *hang_up;
	int hang_ups; /* epoll: device connections whose peer has gone; see daemon/device.c */
	int signal;   /* that ended it; 0 for none */
	bool done;
	bool failed;	    /* the VM could not be started again */
	struct fault fault; /* why, if failed */
};

/* -1 with fault set. directory holds the sockets. */
int loop_create(struct loop *l, struct vm *vm, const char *directory, struct fault *f);
/* Runs until a signal, a stop request, or, where options say so, a failure. */
void loop_run(struct loop *l);
/* Says goodbye to every client. Call when no vCPU thread runs any more. */
void loop_destroy(struct loop *l);

/* Kicks every vCPU, so that it looks for its claim again. */
void loop_kick_all(struct loop *l);

#endif
