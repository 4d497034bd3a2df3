/* SPDX-License-Identifier: MIT
 *
 * What a vCPU tells of itself: to status, for whom it waits; to monitors, each exit
 * and each change of state that no exit tells. V writes and never waits; a reader
 * that comes in between looks again (wait_info) or has a cursor of its own (ring).
 */
#include "config.h"

#include "vcpu.h"

#include <assert.h>

#include "exit.h"
#include "sock.h"
#include "vm.h"

static void set(_Atomic uint64_t *field, uint64_t value)
{
	atomic_store_explicit(field, value, memory_order_relaxed);
}

static void set32(_Atomic uint32_t *field, uint32_t value)
{
	atomic_store_explicit(field, value, memory_order_relaxed);
}

static void wait_info_begin(struct vcpu_wait_info *w)
{
	set32(&w->gen, w->gen + 1);
	atomic_thread_fence(memory_order_release);
}

static void wait_info_end(struct vcpu_wait_info *w)
{
	atomic_store_explicit(&w->gen, w->gen + 1, memory_order_release);
}

void vcpu_tell_wait(struct vcpu *v, enum kvmcpu_wait_cause cause, const struct kvmcpu_exit *x,
		    const struct claim *claim)
{
	struct vcpu_wait_info *w = &v->wait_info;
	/* A wait that goes on for another reason began when it began. */
	bool again = w->exit_seq == x->seq;

	wait_info_begin(w);
	set32(&w->cause, cause);
	if (!again)
		set(&w->since_ns, x->left_ns);
	set32(&w->kind, x->kind);
	set32(&w->direction, x->direction);
	set32(&w->size, x->size * x->count);
	set(&w->exit_seq, x->seq);
	set(&w->address, x->address);
	atomic_store_explicit(&w->claim, claim, memory_order_relaxed);
	wait_info_end(w);
}

void vcpu_tell_wait_cause(struct vcpu *v, enum kvmcpu_wait_cause cause)
{
	wait_info_begin(&v->wait_info);
	set32(&v->wait_info.cause, cause);
	wait_info_end(&v->wait_info);
}

bool vcpu_get_wait(struct vcpu *v, struct kvmcpu_vcpu_status *ret)
{
	struct vcpu_wait_info *w = &v->wait_info;
	const struct claim *claim;
	uint32_t gen;

	do {
		gen = atomic_load_explicit(&w->gen, memory_order_acquire) & ~1u;
		ret->wait.cause = atomic_load_explicit(&w->cause, memory_order_relaxed);
		ret->wait.since_ns = atomic_load_explicit(&w->since_ns, memory_order_relaxed);
		ret->wait.kind = atomic_load_explicit(&w->kind, memory_order_relaxed);
		ret->wait.direction = atomic_load_explicit(&w->direction, memory_order_relaxed);
		ret->wait.size_bytes = atomic_load_explicit(&w->size, memory_order_relaxed);
		ret->wait.exit_seq = atomic_load_explicit(&w->exit_seq, memory_order_relaxed);
		ret->wait.address = atomic_load_explicit(&w->address, memory_order_relaxed);
		claim = atomic_load_explicit(&w->claim, memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
	} while (gen != atomic_load_explicit(&w->gen, memory_order_relaxed));
	if (ret->wait.cause == KVMCPU_WAIT_NONE)
		return false;
	ret->wait.claim = claim->name;
	ret->wait.client = claim->client;
	ret->wait.client_id = claim->client_id;
	return true;
}

static void write_event(struct vcpu *v, const struct ring_tag *tag, int size)
{
	assert(size > 0);
	if (ring_write(&v->ring, tag, v->event_buf, (size_t)size))
		vm_notify(v->vm);
}

static void count_times(struct vcpu *v, const struct exit_record *rec, uint64_t reentered_ns)
{
	hist_add(&v->stats.to_sent, rec->sent_ns - rec->left_ns);
	hist_add(&v->stats.to_replied, rec->replied_ns - rec->sent_ns);
	hist_add(&v->stats.to_reentered, reentered_ns - rec->replied_ns);
}

void vcpu_publish(struct vcpu *v, uint64_t reentered_ns)
{
	struct exit_record *rec = v->record;
	struct codec_exit_event e;

	if (!rec->due)
		return;
	rec->due = false;
	if (rec->by_client)
		count_times(v, rec, reentered_ns);
	e = (struct codec_exit_event){
	    .seq = ring_next_seq(&v->ring),
	    .vcpu = v->index,
	    .exit = v->frame + FRAME_HEADER_MAX,
	    .exit_size = v->exit_size,
	    .reply = rec->reply_size > 0 ? rec->reply : NULL,
	    .reply_size = rec->reply_size,
	    .sent_after_ns = rec->sent_ns - rec->left_ns,
	    .replied_after_ns = rec->replied_ns - rec->left_ns,
	    .reentered_after_ns = reentered_ns - rec->left_ns,
	    .answered_by = rec->answered_by,
	    .claim_id = rec->claim_id,
	    .client_id = rec->client_id,
	    .dump = rec->dump,
	    .executed_ticks = rec->executed_ticks,
	    .idle_ticks = rec->idle_ticks,
	};
	write_event(v, &rec->tag,
		    codec_pack_exit_event(&e, v->event_buf, ring_max_record(&v->ring)));
}

void vcpu_tell_state(struct vcpu *v, enum kvmcpu_vcpu_state from, enum kvmcpu_vcpu_state to)
{
	struct kvmcpu_event e = {
	    .kind = KVMCPU_EVENT_STATE,
	    .vcpu = v->index,
	    .state = {from, to, sock_now_ns(), v->clock.tick, 0, v->paused},
	};
	static const struct ring_tag tag = {0};

	vcpu_publish(v, e.state.at_ns);
	e.seq = ring_next_seq(&v->ring);
	if (to == KVMCPU_VCPU_WAITING_REPLY)
		e.state.exit_seq = v->exit_seq;
	write_event(v, &tag, codec_pack_state_event(&e, v->event_buf, ring_max_record(&v->ring)));
}

/* Whether an exit's times tell of being in this state. */
static bool told_by_exit(enum kvmcpu_vcpu_state state)
{
	return state == KVMCPU_VCPU_RUNNING || state == KVMCPU_VCPU_RUNNING_SERVICE ||
	       state == KVMCPU_VCPU_RUNNING_SERVICE_COMPLETION;
}

void vcpu_set_state(struct vcpu *v, enum kvmcpu_vcpu_state state)
{
	enum kvmcpu_vcpu_state from = atomic_load_explicit(&v->state, memory_order_relaxed);

	if (from == state)
		return;
	set32(&v->state, state);
	if (!told_by_exit(from) || !told_by_exit(state))
		vcpu_tell_state(v, from, state);
}
