/* SPDX-License-Identifier: MIT
 *
 * The path of an exit, on the vCPU's own thread: decode, find the claim, pack,
 * exchange with the device, apply the answer, account, and leave a record that
 * is written to the ring when the guest is re-entered.
 *
 * An exit is packed once. The same bytes go to the client and into the ring;
 * when it must be offered again, the mark for that is appended to them.
 */
#include "config.h"

#include "exit.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "channel.h"
#include "sock.h"
#include "vcpu.h"
#include "vm.h"
#include "x86/dump.h"
#include "x86/hypercall.h"

/* An answer, wherever it came from. */
struct answer {
	const uint8_t *data; /* as long as the exit asked for */
	bool ok;
	uint8_t made[KVMCPU_PIO_MAX]; /* data of answers that no client gave */
};

static size_t wanted_bytes(const struct kvmcpu_exit *x)
{
	if (x->kind == KVMCPU_EXIT_HYPERCALL)
		return 8;
	return x->direction == KVMCPU_READ ? (size_t)x->size * x->count : 0;
}

static void count_kind(struct vcpu *v, const struct kvmcpu_exit *x)
{
	struct vcpu_stats *s = &v->stats;

	switch (x->kind) {
	case KVMCPU_EXIT_PIO:
		stat_add(&s->num_io, 1);
		stat_add(&s->io_bytes, (uint64_t)x->size * x->count);
		break;
	case KVMCPU_EXIT_MMIO:
		stat_add(&s->num_mmio, 1);
		break;
	case KVMCPU_EXIT_HALT:
		stat_add(&s->num_halt, 1);
		break;
	case KVMCPU_EXIT_HYPERCALL:
		stat_add(&s->num_hypercalls, 1);
		break;
	case KVMCPU_EXIT_MSR:
		stat_add(&s->num_msr, 1);
		break;
	case KVMCPU_EXIT_INTERRUPTED:
		break; /* num_exit_signal */
	default:
		stat_add(&s->num_other, 1);
	}
}

/* Fills what a read gets with each element's lowest bytes of value. */
static void make_data(struct answer *a, const struct kvmcpu_exit *x, uint64_t value)
{
	size_t n = wanted_bytes(x), element = x->size > 0 && x->size <= 8 ? x->size : 8;

	for (size_t i = 0; i < n; i++)
		a->made[i] = (uint8_t)(value >> (i % element * 8));
	a->data = a->made;
}

/* Keeps a packed reply for the record of an answer that no client gave. */
static void record_made(struct exit_record *rec, const struct kvmcpu_exit *x, struct answer *a,
			enum kvmcpu_answerer by)
{
	struct kvmcpu_reply r = {
	    .seq = x->seq,
	    .status = a->ok ? KVMCPU_REPLY_OK : KVMCPU_REPLY_BUS_ERROR,
	    .data = a->made,
	    .data_size = wanted_bytes(x),
	};
	int size = codec_pack_reply(&r, rec->reply, sizeof(rec->reply));

	rec->reply_size = size > 0 ? (size_t)size : 0;
	rec->answered_by = by;
	/* It may have been sent before, to somebody who went away. */
	rec->sent_ns = rec->replied_ns = sock_now_ns();
}

/* The owner of the claim is away and the claim says what to do then. */
static void answer_by_fill(struct vcpu *v, const struct kvmcpu_exit *x, const struct claim *claim,
			   struct answer *a)
{
	a->ok = true;
	make_data(a, x, claim->fill);
	record_made(v->record, x, a, KVMCPU_ANSWERED_BY_FILL);
	v->record->claim_id = claim->id;
	stat_add(&v->stats.num_filled, 1);
	atomic_fetch_add_explicit(&claim->figures->filled, 1, memory_order_relaxed);
}

/* Nobody claims it. Returns false where strict mode makes that the end. */
static bool answer_by_nobody(struct vcpu *v, const struct kvmcpu_exit *x, struct answer *a)
{
	a->ok = x->kind != KVMCPU_EXIT_MSR;
	make_data(a, x, UINT64_MAX);
	record_made(v->record, x, a, KVMCPU_ANSWERED_BY_NOBODY);
	if (x->kind == KVMCPU_EXIT_HALT)
		return true;
	stat_add(&v->stats.num_unclaimed, 1);
	if (!v->vm->options->strict)
		return true;
	vcpu_stop(v, "strict: nobody claims %s 0x%llx (%s of %u bytes)", codec_kind_name(x->kind),
		  (unsigned long long)x->address, x->direction == KVMCPU_WRITE ? "write" : "read",
		  x->size * x->count);
	return false;
}

static void account(struct vcpu *v, const struct kvmcpu_exit *x, const struct claim *claim,
		    const struct kvmcpu_reply *r)
{
	struct claim_figures *f = claim->figures;
	struct exit_record *rec = v->record;
	bool write = x->direction == KVMCPU_WRITE;

	atomic_fetch_add_explicit(write ? &f->writes : &f->reads, 1, memory_order_relaxed);
	if (r->status == KVMCPU_REPLY_BUS_ERROR)
		atomic_fetch_add_explicit(&f->bus_errors, 1, memory_order_relaxed);
	if (r->ticks > 0)
		atomic_fetch_add_explicit(&f->ticks_charged, r->ticks, memory_order_relaxed);
	hist_add_shared(&f->service, rec->replied_ns - rec->sent_ns);
	clock_add_charged(&v->clock, r->ticks);
	if (v->vm->options->realtime)
		v->release_ns = rec->left_ns + r->ticks / (VM_TICKS_PER_SECOND / 1000000000);
}

/* Takes over a client's reply, while the channel's turn is still held. */
static void take_answer(struct vcpu *v, const struct kvmcpu_exit *x, const struct claim *claim,
			const struct kvmcpu_reply *r, struct answer *a)
{
	a->ok = r->status != KVMCPU_REPLY_BUS_ERROR;
	make_data(a, x, a->ok ? 0 : UINT64_MAX);
	if (r->data_size > 0)
		memcpy(a->made, r->data, r->data_size);
	account(v, x, claim, r);
	for (size_t i = 0; i < r->n_effects; i++)
		vm_apply_effect(v->vm, &r->effects[i]);
}

/* The client has the exit, or had it, and has not answered. */
static void mark_redelivered(struct vcpu *v, struct kvmcpu_exit *x, const struct claim *claim)
{
	atomic_fetch_add_explicit(&claim->figures->redelivered, 1, memory_order_relaxed);
	stat_add(&v->stats.num_redelivered, 1);
	if (x->redelivered)
		return;
	x->redelivered = true;
	int size =
	    codec_mark_redelivered(v->frame + FRAME_HEADER_MAX, v->exit_size, VCPU_FRAME_SIZE);
	if (size > 0)
		v->exit_size = (size_t)size;
}

/* One offer to a connected client: 0, -ENOTCONN or -ECANCELED. */
static int offer(struct vcpu *v, struct kvmcpu_exit *x, const struct claim *claim, struct answer *a)
{
	struct exit_record *rec = v->record;
	struct kvmcpu_reply reply;
	const uint8_t *bytes;
	int r;

	vcpu_tell_wait(v, KVMCPU_WAIT_REPLY, x, claim);
	rec->sent_ns = 0;
	r = channel_call(claim->channel, v, x, v->frame + FRAME_HEADER_MAX, v->exit_size, &reply,
			 &bytes, &rec->reply_size, &rec->sent_ns);
	if (r == -ENOTCONN) {
		if (rec->sent_ns != 0)
			mark_redelivered(v, x, claim);
		vm_notify(v->vm); /* L may not know yet */
	}
	if (r < 0)
		return r;
	rec->replied_ns = sock_now_ns();
	rec->answered_by = KVMCPU_ANSWERED_BY_CLIENT;
	rec->by_client = true;
	rec->claim_id = claim->id;
	rec->client_id = claim->client_id;
	memcpy(rec->reply, bytes, rec->reply_size);
	take_answer(v, x, claim, &reply, a);
	channel_done(claim->channel);
	return 0;
}

/* Finds an answer, however long it takes. Returns 0; 1 if there will be none
 * because the vCPU has stopped; -ECANCELED. */
static int find_answer(struct vcpu *v, const struct exit_type *type, struct kvmcpu_exit *x,
		       struct answer *a)
{
	for (;;) {
		/* L may look at the claim waited for as long as there is a cause, and the
		 * hold keeps it only until the next look-up. */
		vcpu_tell_wait_cause(v, KVMCPU_WAIT_NONE);
		const struct claim *claim =
		    claims_find(&v->vm->claims, &v->hold, v->index, type->space, x->address);
		int r;

		if (claim == NULL)
			return answer_by_nobody(v, x, a) ? 0 : 1;
		if (!claim_is_absent(claim)) {
			r = offer(v, x, claim, a);
			if (r != -ENOTCONN)
				return r;
			continue;
		}
		if (claim->absence == KVMCPU_ABSENCE_FILL) {
			answer_by_fill(v, x, claim, a);
			return 0;
		}
		vcpu_tell_wait(v, KVMCPU_WAIT_ABSENT, x, claim);
		vcpu_set_state(v, KVMCPU_VCPU_WAITING_REPLY);
		r = vcpu_wait(v, -1, 0);
		if (r < 0)
			return r;
	}
}

static int ask(struct vcpu *v, const struct exit_type *type, struct kvmcpu_exit *x)
{
	struct answer a;
	int r = find_answer(v, type, x, &a);

	vcpu_tell_wait_cause(v, KVMCPU_WAIT_NONE);
	claims_release(&v->hold);
	if (r != 0)
		return r < 0 ? r : 0;
	if (type->finish != NULL)
		type->finish(v, x, a.data, a.ok);
	v->completion_due = type->completes;
	v->asked_seq = x->seq;
	vcpu_set_state(v, KVMCPU_VCPU_RUNNING_SERVICE_COMPLETION);
	return 0;
}

static void describe(const struct kvmcpu_exit *x, char *text, size_t size)
{
	unsigned long long a = 0, b = 0;

	switch (x->kind) {
	case KVMCPU_EXIT_SYSTEM_EVENT:
		a = x->system_event.type;
		break;
	case KVMCPU_EXIT_DEBUG:
		a = x->debug.exception;
		b = x->debug.pc;
		break;
	case KVMCPU_EXIT_FAIL_ENTRY:
		a = x->fail_entry.hardware_reason;
		b = x->fail_entry.cpu;
		break;
	case KVMCPU_EXIT_INTERNAL_ERROR:
		a = x->internal_error.suberror;
		b = x->internal_error.n_data > 0 ? x->internal_error.data[0] : 0;
		break;
	case KVMCPU_EXIT_EXCEPTION:
		a = x->exception.vector;
		b = x->exception.error_code;
		break;
	case KVMCPU_EXIT_UNKNOWN:
		a = x->unknown.reason;
		b = x->unknown.hardware_reason;
		break;
	default:
		snprintf(text, size, "%s", codec_kind_name(x->kind));
		return;
	}
	snprintf(text, size, "%s %llu (0x%llx)", codec_kind_name(x->kind), a, b);
}

/* A fresh record: nobody asked. */
static void begin_record(struct vcpu *v, const struct exit_type *type, const struct kvmcpu_exit *x)
{
	struct exit_record *rec = v->record;

	rec->due = false;
	rec->by_client = false;
	rec->tag = (struct ring_tag){x->address, x->kind, type->space};
	rec->left_ns = rec->sent_ns = rec->replied_ns = x->left_ns;
	rec->answered_by = KVMCPU_ANSWERED_BY_DAEMON;
	rec->claim_id = rec->client_id = 0;
	rec->dump = NULL;
	rec->executed_ticks = stat_get(&v->clock.executed) - rec->executed_before;
	rec->idle_ticks = stat_get(&v->clock.idle) - rec->idle_before;
	rec->executed_before += rec->executed_ticks;
	rec->idle_before += rec->idle_ticks;
	rec->reply_size = 0;
}

int exit_serve(struct vcpu *v, uint32_t reason, uint64_t left_ns)
{
	const struct exit_type *type = exit_type_of(reason);
	struct kvmcpu_exit x = {
	    .seq = atomic_load_explicit(&v->exit_seq, memory_order_relaxed) + 1,
	    .tick = stat_get(&v->clock.tick),
	    .left_ns = left_ns,
	    .vcpu = v->index,
	    .kind = type->kind,
	    .count = 1,
	};
	int size, r = 0;

	vcpu_set_state(v, KVMCPU_VCPU_RUNNING_SERVICE);
	atomic_store_explicit(&v->exit_seq, x.seq, memory_order_relaxed);
	type->decode(v->run, &x);
	type = x86_hypercall_take(v, type, &x);
	count_kind(v, &x);
	size = codec_pack_exit(&x, v->frame + FRAME_HEADER_MAX, VCPU_FRAME_SIZE);
	assert(size > 0); /* VCPU_FRAME_SIZE takes KVM's largest */
	v->exit_size = (size_t)size;
	v->halted = type->kind == KVMCPU_EXIT_HALT;
	begin_record(v, type, &x);
	if (type->space != 0)
		r = ask(v, type, &x);
	v->record->due = r == 0;
	if (type->fatal) {
		char text[128];
		describe(&x, text, sizeof(text));
		vcpu_stop(v, "%s%s", text,
			  x.kind == KVMCPU_EXIT_SHUTDOWN && x86_is_reset(v)
			      ? " (KVM has reset the vCPU: these are its registers after INIT)"
			      : "");
	}
	return r;
}
