/* SPDX-License-Identifier: MIT
 *
 * What the files that serve control calls share: answering, and a request that
 * waits. L only, all of it.
 */
#ifndef KVMCPUD_CONTROL_CALL_H
#define KVMCPUD_CONTROL_CALL_H

#include "control.h"
#include "session.h"
#include "vcpu.h"

struct event;

#define CONTROL_ARENA_LIMIT (32u << 20) /* bytes for one request and its response */

typedef void control_call_fn(struct session *s, const struct kvmcpu_request *q,
			     struct codec_arena *a);

/* A request that waits. A dump's belongs to its job until that is done, the others to
 * their session. */
struct pending {
	struct session *session; /* NULL when it has gone */
	uint64_t id;
	uint64_t vcpu_mask;    /* pause: those that must settle; run: those that must end */
	bool runs;	       /* it waits for runs by budget */
	struct event *timer;   /* pause; owned */
	struct job job;	       /* dump */
	struct x86_dump *dump; /* dump; owned */
};

/* Makes s busy until the request with this id is answered. NULL, and answered, if
 * there is no memory. */
struct pending *control_wait(struct session *s, uint64_t id, uint64_t vcpu_mask);
void control_pending_free(struct pending *p);

void control_respond(struct session *s, const struct kvmcpu_response *r);
void control_respond_done(struct session *s, uint64_t id);
void control_respond_error(struct session *s, uint64_t id, enum kvmcpu_error_code code,
			   const char *format, ...) __attribute__((format(printf, 4, 5)));
/* The vCPUs that a mask names, all if it is 0. False, and answered, if it names one
 * that does not exist. */
bool control_named_vcpus(struct session *s, uint64_t id, uint64_t mask, uint64_t *ret);

/* control_run.c */
control_call_fn control_run, control_wait_run, control_cancel_run;
/* Answers who waits for runs of which none is going any more. */
void control_check_runs(struct loop *l);
/* Cancels what a session that ends has begun. */
void control_runs_ended(struct session *s);
/* Cancels the runs of these vCPUs, whoever began them. */
void control_cancel_runs(struct vm *vm, uint64_t mask);

#endif
