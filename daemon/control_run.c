/* SPDX-License-Identifier: MIT
 *
 * Runs by budget, as control calls: what may not be started is refused before any
 * vCPU has begun, and a scheduler that goes away leaves paused vCPUs behind.
 */
#include "config.h"

#include <stdlib.h>

#include "control_call.h"
#include "loop.h"
#include "quantum.h"
#include "run.h"
#include "vm.h"
#include "x86/probe.h"

static bool any_active(const struct vm *vm, uint64_t mask)
{
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (mask >> i & 1 && run_is_active(vm->vcpus[i]))
			return true;
	return false;
}

/* What the last run of each came to; a vCPU that was never run is left out. */
static void respond_runs(struct session *s, uint64_t id, uint64_t mask)
{
	struct kvmcpu_vcpu_run runs[KVMCPU_MAX_VCPUS];
	struct kvmcpu_response r = {.id = id, .result = KVMCPU_RESULT_RUNS, .runs = {runs, 0}};
	struct vm *vm = s->loop->vm;

	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (mask >> i & 1 && vm->vcpus[i]->timed_run.result.end != 0)
			runs[r.runs.n_runs++] = vm->vcpus[i]->timed_run.result;
	control_respond(s, &r);
}

/* Why this vCPU cannot be run now; true if nothing speaks against it. */
static bool may_run(struct session *s, const struct kvmcpu_request *q, struct vcpu *v)
{
	uint64_t tick = stat_get(&v->clock.tick);

	if (tick < q->run.advance_to_tick)
		tick = q->run.advance_to_tick;
	if (!atomic_load(&v->pause_wanted))
		control_respond_error(s, q->id, KVMCPU_ERROR_STATE,
				      "vCPU %u runs freely: pause it first, then run it", v->index);
	else if (run_is_active(v))
		control_respond_error(s, q->id, KVMCPU_ERROR_STATE,
				      "vCPU %u is in a run: wait for its end, or cancel it",
				      v->index);
	else if (q->run.ticks > UINT64_MAX - tick)
		control_respond_error(
		    s, q->id, KVMCPU_ERROR_RANGE,
		    "%llu ticks would take the clock of vCPU %u, at %llu, past its end: give at "
		    "most %llu",
		    (unsigned long long)q->run.ticks, v->index, (unsigned long long)tick,
		    (unsigned long long)(UINT64_MAX - tick));
	else
		return true;
	return false;
}

static void wait_for_runs(struct session *s, uint64_t id, uint64_t mask)
{
	struct pending *p;

	if (!any_active(s->loop->vm, mask)) {
		respond_runs(s, id, mask);
		return;
	}
	p = control_wait(s, id, mask);
	if (p != NULL)
		p->runs = true;
}

/* Found out when it is first asked for, since it takes a VM of its own. */
static bool may_step(struct session *s, const struct kvmcpu_request *q)
{
	struct vm *vm = s->loop->vm;

	if (q->run.instructions == 0)
		return true;
	if (!vm->steps_known) {
		vm->steps_trap = x86_single_steps_trap(vm->kvm_fd);
		vm->steps_known = true;
	}
	if (vm->steps_trap > 0)
		return true;
	control_respond_error(
	    s, q->id, KVMCPU_ERROR_UNSUPPORTED,
	    "instructions cannot be counted: this KVM %s, and there is no performance counter; "
	    "give a budget in ticks instead",
	    vm->steps_trap == 0 ? "lets the guest run on behind a single step"
				: "does not say whether it stops behind a single step");
	return false;
}

void control_run(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	struct vm *vm = s->loop->vm;
	uint64_t mask;

	if (!control_named_vcpus(s, q->id, q->run.vcpu_mask, &mask))
		return;
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (mask >> i & 1 && !may_run(s, q, vm->vcpus[i]))
			return;
	if (!may_step(s, q))
		return;
	quantum_join(vm, mask);
	for (uint32_t i = 0; i < vm->n_vcpus; i++) {
		if (!(mask >> i & 1))
			continue;
		vm->vcpus[i]->timed_run.owner = s->client_id;
		run_start(vm->vcpus[i], q);
	}
	if (q->run.async)
		control_respond_done(s, q->id);
	else
		wait_for_runs(s, q->id, mask);
}

void control_wait_run(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	uint64_t mask;

	if (control_named_vcpus(s, q->id, q->run.vcpu_mask, &mask))
		wait_for_runs(s, q->id, mask);
}

void control_cancel_runs(struct vm *vm, uint64_t mask)
{
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (mask >> i & 1 && run_is_active(vm->vcpus[i]))
			run_cancel(vm->vcpus[i]);
}

void control_cancel_run(struct session *s, const struct kvmcpu_request *q, struct codec_arena *a)
{
	uint64_t mask;

	if (!control_named_vcpus(s, q->id, q->run.vcpu_mask, &mask))
		return;
	control_cancel_runs(s->loop->vm, mask);
	control_respond_done(s, q->id);
}

void control_check_runs(struct loop *l)
{
	struct session *next;

	for (struct session *s = TAILQ_FIRST(&l->sessions); s != NULL; s = next) {
		struct pending *p = s->pending;

		next = TAILQ_NEXT(s, entry);
		if (p == NULL || !p->runs || any_active(l->vm, p->vcpu_mask))
			continue;
		s->pending = NULL;
		s->inside++;
		respond_runs(s, p->id, p->vcpu_mask);
		control_pending_free(p);
		session_leave_and_resume(s);
	}
}

void control_runs_ended(struct session *s)
{
	struct vm *vm = s->loop->vm;

	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (vm->vcpus[i] != NULL && vm->vcpus[i]->timed_run.owner == s->client_id &&
		    run_is_active(vm->vcpus[i]))
			run_cancel(vm->vcpus[i]);
}
