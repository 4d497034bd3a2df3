/* SPDX-License-Identifier: MIT
 *
 * A table of calls. A session's requests are handled one after another, so
 * responses come in order; a call that must wait for vCPUs leaves a pending
 * request at its session, which is then busy until it is answered. Three
 * calls wait: pause, for every vCPU to settle, dump, for a job on the vCPU's own
 * thread, and a run by budget, for its end (control_run.c).
 */
#include "config.h"

#include "control_call.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <event2/event.h>

#include "log.h"
#include "quantum.h"
#include "run.h"
#include "session.h"
#include "stats.h"
#include "vcpu.h"
#include "vm.h"
#include "x86/dump.h"

#define DEFAULT_PAUSE_MS 1000
/* L only: room for one response. */
static uint8_t response_buf[KVMCPU_CONTROL_FRAME_MAX];

static const uint8_t schema[] = {
#include "proto/schema.inc"
};

static void respond_with(struct session *s, const struct kvmcpu_response *r, int fd)
{
	int size = codec_pack_response(r, response_buf, sizeof(response_buf));

	if (size < 0) {
		struct kvmcpu_response error = {
		    .id = r->id,
		    .error = {KVMCPU_ERROR_SYSTEM, "the answer is larger than a frame may be"},
		};
		size = codec_pack_response(&error, response_buf, sizeof(response_buf));
	}
	s->served++;
	(void)session_send(s, response_buf, (size_t)size, fd);
}

void control_respond(struct session *s, const struct kvmcpu_response *r)
{
	respond_with(s, r, -1);
}

void control_respond_done(struct session *s, uint64_t id)
{
	control_respond(s, &(struct kvmcpu_response){.id = id, .result = KVMCPU_RESULT_DONE});
}

void control_respond_error(struct session *s, uint64_t id, enum kvmcpu_error_code code,
			   const char *format, ...)
{
	struct kvmcpu_response r = {.id = id, .error.code = code};
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	r.error.message = text;
	control_respond(s, &r);
}

static void call_ping(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	control_respond_done(s, q->id);
}

static void respond_status(struct session *s, uint64_t id, struct codec_arena *a)
{
	struct kvmcpu_response r = {.id = id, .result = KVMCPU_RESULT_STATUS};

	if (stats_status(s->loop->vm, a, &r.status) < 0)
		control_respond_error(s, id, KVMCPU_ERROR_SYSTEM, "the daemon has no memory left");
	else
		control_respond(s, &r);
}

static void call_status(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	respond_status(s, q->id, a);
}

static void call_stats(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	struct kvmcpu_response r = {.id = q->id, .result = KVMCPU_RESULT_STATS};

	if (stats_collect(s->loop->vm, a, &r.stats) < 0)
		control_respond_error(s, q->id, KVMCPU_ERROR_SYSTEM,
				      "the daemon has no memory left");
	else
		control_respond(s, &r);
}

bool control_named_vcpus(struct session *s, uint64_t id, uint64_t mask, uint64_t *ret)
{
	uint32_t n = s->loop->vm->n_vcpus;
	uint64_t all = n == 64 ? UINT64_MAX : (1ull << n) - 1;

	*ret = mask != 0 ? mask : all;
	if ((*ret & ~all) == 0)
		return true;
	control_respond_error(s, id, KVMCPU_ERROR_RANGE, "there is no vCPU %d; the VM has %u",
			      63 - __builtin_clzll(*ret), n);
	return false;
}

static bool all_settled(const struct vm *vm, uint64_t mask)
{
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (mask >> i & 1 &&
		    (!atomic_load(&vm->vcpus[i]->settled) || run_is_active(vm->vcpus[i])))
			return false;
	return true;
}

void control_pending_free(struct pending *p)
{
	if (p->timer != NULL)
		event_free(p->timer);
	x86_dump_free(p->dump);
	free(p);
}

struct pending *control_wait(struct session *s, uint64_t id, uint64_t vcpu_mask)
{
	struct pending *p = calloc(1, sizeof(*p));

	if (p == NULL) {
		control_respond_error(s, id, KVMCPU_ERROR_SYSTEM, "the daemon has no memory left");
		return NULL;
	}
	*p = (struct pending){.session = s, .id = id, .vcpu_mask = vcpu_mask};
	s->pending = p;
	s->busy = true;
	return p;
}

/* Answers a pause, settled or not. */
static void finish_pause(struct session *s)
{
	struct pending *p = s->pending;
	struct codec_arena a;
	uint64_t id = p->id;

	s->pending = NULL;
	control_pending_free(p);
	codec_arena_growing(&a, CONTROL_ARENA_LIMIT);
	s->inside++;
	respond_status(s, id, &a);
	codec_arena_free(&a);
	session_leave_and_resume(s);
}

static void on_pause_late(evutil_socket_t fd, short what, void *arg)
{
	finish_pause(arg);
}

void control_check_pauses(struct loop *l)
{
	struct session *next;

	for (struct session *s = TAILQ_FIRST(&l->sessions); s != NULL; s = next) {
		next = TAILQ_NEXT(s, entry);
		if (s->pending != NULL && s->pending->timer != NULL &&
		    all_settled(l->vm, s->pending->vcpu_mask))
			finish_pause(s);
	}
}

static void call_pause(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	struct vm *vm = s->loop->vm;
	uint32_t ms = q->pause.timeout_ms != 0 ? q->pause.timeout_ms : DEFAULT_PAUSE_MS;
	struct timeval time = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
	struct pending *p;
	uint64_t mask;

	if (!control_named_vcpus(s, q->id, q->pause.vcpu_mask, &mask))
		return;
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (mask >> i & 1)
			vcpu_set_paused(vm->vcpus[i], true);
	control_cancel_runs(vm, mask);
	if (all_settled(vm, mask)) {
		respond_status(s, q->id, a);
		return;
	}
	p = control_wait(s, q->id, mask);
	if (p == NULL)
		return;
	p->timer = evtimer_new(s->loop->base, on_pause_late, s);
	if (p->timer == NULL) {
		finish_pause(s);
		return;
	}
	event_add(p->timer, &time);
}

static void call_resume(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	struct vm *vm = s->loop->vm;
	uint64_t mask;

	if (!control_named_vcpus(s, q->id, q->pause.vcpu_mask, &mask))
		return;
	for (uint32_t i = 0; i < vm->n_vcpus; i++) {
		if (mask >> i & 1 && run_is_active(vm->vcpus[i])) {
			control_respond_error(s, q->id, KVMCPU_ERROR_STATE,
					      "vCPU %u is in a run: wait for its end, or cancel it",
					      i);
			return;
		}
	}
	quantum_join(vm, mask);
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (mask >> i & 1)
			vcpu_set_paused(vm->vcpus[i], false);
	respond_status(s, q->id, a);
}

static void call_stop(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	control_respond_done(s, q->id);
	vm_request_stop(s->loop->vm, q->stop.code, q->stop.reason, false);
}

static void dump_run(struct vcpu *v, struct job *job)
{
	struct pending *p = (struct pending *)((char *)job - offsetof(struct pending, job));

	p->dump = x86_dump_take(v, v->stopped ? v->stop_text : "asked for");
}

static void dump_done(struct job *job)
{
	struct pending *p = (struct pending *)((char *)job - offsetof(struct pending, job));
	struct session *s = p->session;
	struct kvmcpu_response r = {.id = p->id, .result = KVMCPU_RESULT_DUMP};

	if (s != NULL) {
		s->pending = NULL;
		s->inside++;
		if (p->dump == NULL) {
			control_respond_error(s, p->id, KVMCPU_ERROR_SYSTEM,
					      "the daemon has no memory left");
		} else {
			r.dump = *x86_dump_get(p->dump);
			control_respond(s, &r);
		}
		session_leave_and_resume(s);
	}
	control_pending_free(p);
}

static void call_dump(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	struct vm *vm = s->loop->vm;
	struct pending *p;

	if (q->dump.vcpu >= vm->n_vcpus) {
		control_respond_error(s, q->id, KVMCPU_ERROR_RANGE,
				      "there is no vCPU %u; the VM has %u", q->dump.vcpu,
				      vm->n_vcpus);
		return;
	}
	p = control_wait(s, q->id, 0);
	if (p == NULL)
		return;
	p->job = (struct job){.run = dump_run, .done = dump_done};
	vcpu_post(vm->vcpus[q->dump.vcpu], &p->job);
}

static void call_clients(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	struct loop *l = s->loop;
	size_t n_claims = claims_count(&l->vm->claims), n = 0;
	struct kvmcpu_client_info *clients =
	    codec_arena_alloc(a, (l->n_sessions + 1) * sizeof(*clients));
	struct kvmcpu_claim_info *claims = codec_arena_alloc(a, (n_claims + 1) * sizeof(*claims));
	struct kvmcpu_response r = {.id = q->id, .result = KVMCPU_RESULT_CLIENTS};
	struct session *i;

	if (clients == NULL || claims == NULL) {
		control_respond_error(s, q->id, KVMCPU_ERROR_SYSTEM,
				      "the daemon has no memory left");
		return;
	}
	TAILQ_FOREACH(i, &l->sessions, entry)
	if (i->greeted)
		session_describe(i, &clients[n++]);
	for (size_t c = 0; c < n_claims; c++)
		claim_describe(claims_at(&l->vm->claims, c), &claims[c]);
	r.clients = (struct kvmcpu_client_list){clients, n, claims, n_claims};
	control_respond(s, &r);
}

static void call_read_memory(struct session *s, const struct kvmcpu_request *q,
			     struct codec_arena *a)
{
	struct kvmcpu_response r = {.id = q->id, .result = KVMCPU_RESULT_MEMORY};

	r.memory.address = q->memory.address;
	r.memory.size = q->memory.size;
	r.memory.data = memory_at(&s->loop->vm->memory, q->memory.address, q->memory.size, false);
	if (r.memory.data == NULL)
		control_respond_error(s, q->id, KVMCPU_ERROR_RANGE,
				      "%u bytes at 0x%llx are not in guest memory", q->memory.size,
				      (unsigned long long)q->memory.address);
	else
		control_respond(s, &r);
}

static void call_write_memory(struct session *s, const struct kvmcpu_request *q,
			      struct codec_arena *a)
{
	uint8_t *to = memory_at(&s->loop->vm->memory, q->memory.address, q->memory.data_size, true);

	if (to == NULL) {
		control_respond_error(s, q->id, KVMCPU_ERROR_RANGE,
				      "%zu bytes at 0x%llx are not in guest RAM",
				      q->memory.data_size, (unsigned long long)q->memory.address);
		return;
	}
	memcpy(to, q->memory.data, q->memory.data_size);
	control_respond_done(s, q->id);
}

static void call_memory_map(struct session *s, const struct kvmcpu_request *q,
			    struct codec_arena *a)
{
	struct kvmcpu_response r = {.id = q->id, .result = KVMCPU_RESULT_MEMORY_MAP};

	vm_memory_map(s->loop->vm, &r.memory_map);
	r.memory_map.descriptor_follows = s->takes_descriptors;
	respond_with(s, &r, s->takes_descriptors ? s->loop->vm->memory.fd : -1);
}

static void call_schema(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	struct kvmcpu_response r = {.id = q->id, .result = KVMCPU_RESULT_SCHEMA};

	r.schema.data = schema;
	r.schema.size = sizeof(schema);
	control_respond(s, &r);
}

static void call_effect(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	struct codec_error err;
	int r = vm_check_effect(s->loop->vm, &q->effect, &err);

	if (r < 0) {
		control_respond_error(s, q->id,
				      r == -ENOTSUP ? KVMCPU_ERROR_UNSUPPORTED : KVMCPU_ERROR_RANGE,
				      "%s", err.text);
		return;
	}
	/* Done means done: a client may go on to something that comes behind it. */
	vm_apply_effect(s->loop->vm, &q->effect);
	control_respond_done(s, q->id);
}

static control_call_fn *const calls[] = {
    [KVMCPU_CALL_PING] = call_ping,
    [KVMCPU_CALL_STATUS] = call_status,
    [KVMCPU_CALL_PAUSE] = call_pause,
    [KVMCPU_CALL_RESUME] = call_resume,
    [KVMCPU_CALL_STOP] = call_stop,
    [KVMCPU_CALL_STATS] = call_stats,
    [KVMCPU_CALL_DUMP] = call_dump,
    [KVMCPU_CALL_CLIENTS] = call_clients,
    [KVMCPU_CALL_READ_MEMORY] = call_read_memory,
    [KVMCPU_CALL_WRITE_MEMORY] = call_write_memory,
    [KVMCPU_CALL_MEMORY_MAP] = call_memory_map,
    [KVMCPU_CALL_SCHEMA] = call_schema,
    [KVMCPU_CALL_EFFECT] = call_effect,
    [KVMCPU_CALL_RUN] = control_run,
    [KVMCPU_CALL_WAIT_RUN] = control_wait_run,
    [KVMCPU_CALL_CANCEL_RUN] = control_cancel_run,
};

static void control_greet(struct session *s, const struct kvmcpu_hello *hello)
{
	(void)session_welcome(s, NULL, -1);
}

static void control_frame(struct session *s, const uint8_t *data, size_t size)
{
	struct codec_arena a;
	struct codec_error err;
	struct kvmcpu_request q = {0};
	int r;

	codec_arena_growing(&a, CONTROL_ARENA_LIMIT);
	r = codec_unpack_request(data, size, &a, &q, &err);
	if (r == -EPROTO) {
		control_respond_error(s, q.id, KVMCPU_ERROR_RANGE, "%s", err.text);
	} else if (r < 0) {
		session_cut_off(s, err.text);
	} else if ((unsigned)q.call >= sizeof(calls) / sizeof(calls[0]) || calls[q.call] == NULL) {
		control_respond_error(s, q.id, KVMCPU_ERROR_INVALID,
				      "this daemon (protocol %d.%d) does not know that request",
				      KVMCPU_PROTOCOL_MAJOR, KVMCPU_PROTOCOL_MINOR);
	} else {
		calls[q.call](s, &q, &a);
	}
	codec_arena_free(&a);
}

static void control_reproach(struct session *s, const char *text)
{
	control_respond_error(s, 0, KVMCPU_ERROR_INVALID, "%s", text);
}

static void control_ended(struct session *s)
{
	struct pending *p = s->pending;

	control_runs_ended(s);
	s->pending = NULL;
	if (p == NULL)
		return;
	if (p->job.run != NULL)
		p->session = NULL; /* dump_done frees it */
	else
		control_pending_free(p);
}

const struct role control_role = {
    .greet = control_greet,
    .frame = control_frame,
    .reproach = control_reproach,
    .ended = control_ended,
    .max_frame = KVMCPU_CONTROL_FRAME_MAX,
};
