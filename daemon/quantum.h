/* SPDX-License-Identifier: MIT
 *
 * The quantum: simulated time is cut into slices of Q ticks, and no vCPU enters the
 * next one while another is still in an earlier one. So no clock is more than Q ahead
 * of the slowest (and what the last access cost, or the timer overshot). Who is at the
 * end of the slice waits; who moves on, or stops competing, kicks who waits.
 *
 * A vCPU competes while it runs or is being served. One that is halted, paused or
 * stopped does not, and holds nobody; one whose device owes it an answer does, since
 * its time stands still.
 */
#ifndef KVMCPUD_QUANTUM_H
#define KVMCPUD_QUANTUM_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;
struct vm;

/* L, ahead of letting several vCPUs run: the first to run must not take the others for
 * ones that do not. Each finds out for itself if it does not run after all. */
void quantum_join(struct vm *vm, uint64_t vcpu_mask);

/* V only, from here on. quantum_ticks_left: how far it may run before the others must have
 * come; UINT64_MAX without a quantum. */
uint64_t quantum_ticks_left(struct vcpu *v);
/* It is about to enter the guest. True if it had to wait first: then what was asked of
 * it meanwhile has been done, *ret is vcpu_wait()'s, and the caller looks again. */
bool quantum_wait(struct vcpu *v, int *ret);
/* It will not enter the guest before somebody asks. */
void quantum_leave(struct vcpu *v);

#endif
