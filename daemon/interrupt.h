/* SPDX-License-Identifier: MIT
 *
 * Interrupts that devices give a vCPU where KVM has no interrupt controller:
 * held until the guest can take them, the highest vector first.
 */
#ifndef KVMCPUD_INTERRUPT_H
#define KVMCPUD_INTERRUPT_H

#include <stdint.h>

struct vcpu;

/* Any thread. */
void interrupt_post(struct vcpu *v, uint32_t vector);
void interrupt_post_nmi(struct vcpu *v);
void interrupt_post_wake(struct vcpu *v);

/* V only: takes over what was posted, and ends a halt that it ends. */
void interrupt_take_posted(struct vcpu *v);
/* V only, right before an entry: hands KVM what the guest can take. */
void interrupt_deliver(struct vcpu *v);

#endif
