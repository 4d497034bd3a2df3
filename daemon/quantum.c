/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "quantum.h"

#include "vcpu.h"
#include "vm.h"

/* The slowest clock of those that compete, this vCPU's among them. */
static uint64_t slowest(const struct vcpu *v)
{
	uint64_t least = stat_get(&v->clock.tick);

	for (uint32_t i = 0; i < v->vm->n_vcpus; i++) {
		const struct vcpu *other = v->vm->vcpus[i];
		uint64_t tick = stat_get(&other->clock.tick);

		if (tick < least && atomic_load(&other->competing))
			least = tick;
	}
	return least;
}

uint64_t quantum_ticks_left(struct vcpu *v)
{
	uint64_t q = v->vm->options->quantum, tick = stat_get(&v->clock.tick), least, end;

	if (q == 0)
		return UINT64_MAX;
	least = slowest(v);
	end = least / q < UINT64_MAX / q ? (least / q + 1) * q : UINT64_MAX;
	if (tick - least > stat_get(&v->stats.max_skew_ticks))
		atomic_store_explicit(&v->stats.max_skew_ticks, tick - least, memory_order_relaxed);
	return tick < end ? end - tick : 0;
}

/* The clock was written before: whoever says that it waits sees it, or is seen here. */
static void wake_others(struct vcpu *v)
{
	atomic_thread_fence(memory_order_seq_cst);
	for (uint32_t i = 0; i < v->vm->n_vcpus; i++) {
		struct vcpu *other = v->vm->vcpus[i];

		if (other != v && atomic_load(&other->at_barrier))
			vcpu_kick(other);
	}
}

void quantum_join(struct vm *vm, uint64_t vcpu_mask)
{
	if (vm->options->quantum == 0)
		return;
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (vcpu_mask >> i & 1)
			atomic_store(&vm->vcpus[i]->competing, true);
}

bool quantum_wait(struct vcpu *v, int *ret)
{
	bool waited = false;

	if (v->vm->options->quantum == 0)
		return false;
	atomic_store(&v->competing, true);
	wake_others(v);
	if (quantum_ticks_left(v) > 0)
		return false;
	atomic_store(&v->at_barrier, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (quantum_ticks_left(v) == 0) {
		stat_add(&v->stats.num_quantum_waits, 1);
		*ret = vcpu_wait(v, -1, 0);
		waited = true;
	}
	atomic_store(&v->at_barrier, false);
	return waited;
}

void quantum_leave(struct vcpu *v)
{
	if (v->vm->options->quantum == 0 || !atomic_load(&v->competing))
		return;
	atomic_store(&v->competing, false);
	wake_others(v);
}
