/* SPDX-License-Identifier: MIT
 *
 * A vCPU's counters. V adds, without a lock prefix since nobody else does; any
 * thread reads.
 */
#ifndef KVMCPUD_STATS_H
#define KVMCPUD_STATS_H

#include <stdatomic.h>

#include "codec.h"
#include "hist.h"
#include "types.h"

struct vm;

/* Named as in the schema's VcpuStats. */
struct vcpu_stats {
	_Atomic uint64_t num_vm_exits, num_vm_half_entries, num_exit_signal;
	_Atomic uint64_t num_mmio, num_io, num_halt, num_interrupts, num_hypercalls;
	_Atomic uint64_t num_msr, num_other;
	_Atomic uint64_t num_unclaimed, num_filled, num_redelivered;
	_Atomic uint64_t num_runs, num_quantum_waits, max_skew_ticks, num_steps;
	_Atomic uint64_t num_events_lost; /* L adds */
	_Atomic uint64_t io_bytes;
	struct hist to_sent, to_replied, to_reentered;
};

/* V only. */
static inline void stat_add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
			      memory_order_relaxed);
}

static inline uint64_t stat_get(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline uint32_t stat_get32(const _Atomic uint32_t *field)
{
	return atomic_load_explicit(field, memory_order_relaxed);
}

/* L only: everything, in memory of the arena. -ENOMEM. */
int stats_collect(struct vm *vm, struct codec_arena *a, struct kvmcpu_stats *ret);
/* L only: the same for status. */
int stats_status(struct vm *vm, struct codec_arena *a, struct kvmcpu_status *ret);
/* L only: one line for the log, such as "12034 exits (11200 io, …)". */
void stats_summary(struct vm *vm, char *text, size_t size);

#endif
