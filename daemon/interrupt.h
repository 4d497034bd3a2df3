/* SPDX-License-Identifier: MIT
 *
 * Interrupts that devices give a vCPU where KVM has no interrupt controller:
 * held until the guest can take them, the highest vector first.
 */
#ifndef KVMCPUD_INTERRUPT_H
#define KVMCPUD_INTERRUPT_H

#include <stdbool.h>
#include <stdint.h>

struct vcpu;

/* Any thread. */
void interrupt_post(struct vcpu *v, uint32_t vector);
void interrupt_post_nmi(struct vcpu *v);
void interrupt_post_wake(struct vcpu *v);

/* V only: takes over what was posted; an NMI or a wake ends a halt. */
void interrupt_take_posted(struct vcpu *v);
/* V only: whether a vector that is held, perhaps since before the HLT, ends it. */
bool interrupt_ends_halt(const struct vcpu *v);
/* V only, right before an entry: hands KVM what the guest can take. */
void interrupt_deliver(struct vcpu *v);

#endif
