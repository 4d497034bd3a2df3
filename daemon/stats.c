/* SPDX-License-Identifier: MIT
 *
 * Counters and status as structures for the codec. Nothing is copied that the
 * arena need not hold: names are the claims' own, which L does not free while
 * it packs them.
 */
#include "config.h"

#include "stats.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "sock.h"
#include "vcpu.h"
#include "vm.h"

static void collect_vcpu(struct vcpu *v, struct kvmcpu_vcpu_stats *ret)
{
	const struct vcpu_stats *s = &v->stats;

	*ret = (struct kvmcpu_vcpu_stats){
	    .vcpu = v->index,
	    .tick = stat_get(&v->clock.tick),
	    .num_vm_exits = stat_get(&s->num_vm_exits),
	    .num_vm_half_entries = stat_get(&s->num_vm_half_entries),
	    .num_exit_signal = stat_get(&s->num_exit_signal),
	    .num_mmio = stat_get(&s->num_mmio),
	    .num_io = stat_get(&s->num_io),
	    .num_halt = stat_get(&s->num_halt),
	    .num_interrupts = stat_get(&s->num_interrupts),
	    .num_hypercalls = stat_get(&s->num_hypercalls),
	    .num_msr = stat_get(&s->num_msr),
	    .num_other = stat_get(&s->num_other),
	    .num_unclaimed = stat_get(&s->num_unclaimed),
	    .num_filled = stat_get(&s->num_filled),
	    .num_redelivered = stat_get(&s->num_redelivered),
	    .ticks_charged = stat_get(&v->clock.charged),
	    .num_events = ring_next_seq(&v->ring) - 1,
	    .num_events_lost = stat_get(&s->num_events_lost),
	    .ticks_executed = stat_get(&v->clock.executed),
	    .ticks_idle = stat_get(&v->clock.idle),
	    .num_runs = stat_get(&s->num_runs),
	    .num_quantum_waits = stat_get(&s->num_quantum_waits),
	    .num_steps = stat_get(&s->num_steps),
	    .max_skew_ticks = stat_get(&s->max_skew_ticks),
	    .io_bytes = stat_get(&s->io_bytes),
	};
	hist_summary(&s->to_sent, &ret->to_sent);
	hist_summary(&s->to_replied, &ret->to_replied);
	hist_summary(&s->to_reentered, &ret->to_reentered);
}

static void collect_claim(const struct claim *c, struct kvmcpu_claim_stats *ret)
{
	const struct claim_figures *f = c->figures;

	*ret = (struct kvmcpu_claim_stats){
	    .claim_id = c->id,
	    .space = c->space,
	    .first = c->first,
	    .last = c->last,
	    .name = c->name,
	    .client = c->client,
	    .client_id = c->client_id,
	    .absent = claim_is_absent(c),
	    .reads = stat_get(&f->reads),
	    .writes = stat_get(&f->writes),
	    .bus_errors = stat_get(&f->bus_errors),
	    .filled = stat_get(&f->filled),
	    .redelivered = stat_get(&f->redelivered),
	    .ticks_charged = stat_get(&f->ticks_charged),
	};
	hist_summary(&f->service, &ret->service);
}

int stats_collect(struct vm *vm, struct codec_arena *a, struct kvmcpu_stats *ret)
{
	size_t n_claims = claims_count(&vm->claims);
	struct kvmcpu_vcpu_stats *vcpus = codec_arena_alloc(a, vm->n_vcpus * sizeof(*vcpus));
	struct kvmcpu_claim_stats *claims = codec_arena_alloc(a, (n_claims + 1) * sizeof(*claims));

	if (vcpus == NULL || claims == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		collect_vcpu(vm->vcpus[i], &vcpus[i]);
	for (size_t i = 0; i < n_claims; i++)
		collect_claim(claims_at(&vm->claims, i), &claims[i]);
	*ret = (struct kvmcpu_stats){sock_now_ns(), vcpus, vm->n_vcpus, claims, n_claims};
	return 0;
}

void stats_summary(struct vm *vm, char *text, size_t size)
{
	uint64_t exits = 0, io = 0, mmio = 0, halts = 0, unclaimed = 0, ticks = 0;

	for (uint32_t i = 0; i < vm->n_vcpus; i++) {
		const struct vcpu_stats *s = &vm->vcpus[i]->stats;
		exits += stat_get(&s->num_vm_exits);
		io += stat_get(&s->num_io);
		mmio += stat_get(&s->num_mmio);
		halts += stat_get(&s->num_halt);
		unclaimed += stat_get(&s->num_unclaimed);
		ticks += stat_get(&vm->vcpus[i]->clock.tick);
	}
	snprintf(
	    text, size, "%llu exits (%llu io, %llu mmio, %llu halts; %llu unclaimed), %llu ticks",
	    (unsigned long long)exits, (unsigned long long)io, (unsigned long long)mmio,
	    (unsigned long long)halts, (unsigned long long)unclaimed, (unsigned long long)ticks);
}

static void vcpu_status(struct vcpu *v, struct kvmcpu_vcpu_status *ret)
{
	*ret = (struct kvmcpu_vcpu_status){
	    .vcpu = v->index,
	    .state = atomic_load(&v->state),
	    .paused = atomic_load(&v->paused),
	    .tick = stat_get(&v->clock.tick),
	    .in_run = run_is_active(v),
	    .exit_seq = stat_get(&v->exit_seq),
	    .stop_reason = atomic_load_explicit(&v->stop_reason, memory_order_acquire),
	    .first_entry_ns = stat_get(&v->first_entry_ns),
	    .thread_id = atomic_load(&v->tid),
	};
	(void)vcpu_get_wait(v, ret);
}

static enum kvmcpu_vm_state vm_state(const struct kvmcpu_vcpu_status *vcpus, size_t n)
{
	size_t stopped = 0, paused = 0;

	for (size_t i = 0; i < n; i++) {
		if (vcpus[i].stop_reason != NULL)
			stopped++;
		else if (vcpus[i].paused && !vcpus[i].in_run)
			paused++;
	}
	if (stopped == n)
		return KVMCPU_VM_STOPPED;
	return stopped + paused == n ? KVMCPU_VM_PAUSED : KVMCPU_VM_RUNNING;
}

int stats_status(struct vm *vm, struct codec_arena *a, struct kvmcpu_status *ret)
{
	struct kvmcpu_vcpu_status *vcpus = codec_arena_alloc(a, vm->n_vcpus * sizeof(*vcpus));

	if (vcpus == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		vcpu_status(vm->vcpus[i], &vcpus[i]);
	*ret = (struct kvmcpu_status){
	    .state = vm_state(vcpus, vm->n_vcpus),
	    .pid = (uint32_t)getpid(),
	    .daemon_version = PACKAGE_VERSION,
	    .started_ns = vm->started_ns,
	    .now_ns = sock_now_ns(),
	    .vcpus = vcpus,
	    .n_vcpus = vm->n_vcpus,
	    .notes = vm->notes,
	    .n_notes = vm->n_notes,
	    .clock = clock_source_name(vm->rate.source),
	};
	vm_info(vm, &ret->vm);
	return 0;
}
