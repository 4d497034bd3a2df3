/* SPDX-License-Identifier: MIT
 *
 * Any thread posts into atomic fields of the vCPU and kicks it; V moves them to
 * its own. KVM takes one vector at a time (KVM_INTERRUPT), and only when
 * kvm_run says ready_for_interrupt_injection; else V asks for an exit when it
 * will be ready (request_interrupt_window). After HLT the guest may be ready at
 * once, so ready is looked at first.
 */
#include "config.h"

#include "interrupt.h"

#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "vcpu.h"

void interrupt_post(struct vcpu *v, uint32_t vector)
{
	atomic_fetch_or(&v->irq_posted[vector / 64], 1ull << (vector % 64));
	vcpu_kick(v);
}

void interrupt_post_nmi(struct vcpu *v)
{
	atomic_fetch_add(&v->nmi_posted, 1);
	vcpu_kick(v);
}

void interrupt_post_wake(struct vcpu *v)
{
	atomic_store(&v->wake_posted, true);
	vcpu_kick(v);
}

static int highest_pending(const struct vcpu *v)
{
	for (int i = 3; i >= 0; i--)
		if (v->irq_pending[i] != 0)
			return i * 64 + 63 - __builtin_clzll(v->irq_pending[i]);
	return -1;
}

void interrupt_take_posted(struct vcpu *v)
{
	for (int i = 0; i < 4; i++)
		v->irq_pending[i] |= atomic_exchange(&v->irq_posted[i], 0);
	if (atomic_exchange(&v->wake_posted, false))
		v->halted = false;
	for (uint32_t n = atomic_exchange(&v->nmi_posted, 0); n > 0; n--) {
		ioctl(v->fd, KVM_NMI);
		stat_add(&v->stats.num_interrupts, 1);
		v->halted = false;
		v->nmi_first = true;
	}
}

bool interrupt_ends_halt(const struct vcpu *v)
{
	/* With interrupts off only an NMI or a wake does. */
	return highest_pending(v) >= 0 && v->run->if_flag;
}

void interrupt_deliver(struct vcpu *v)
{
	int vector = highest_pending(v);

	v->run->request_interrupt_window = 0;
	if (vector < 0) {
		v->nmi_first = false;
		return;
	}
	/* KVM's PVM flavour loses an NMI that is given together with a vector, so the
	 * vector waits for the window behind it. */
	if (v->run->ready_for_interrupt_injection && !v->nmi_first) {
		struct kvm_interrupt irq = {.irq = (uint32_t)vector};
		if (ioctl(v->fd, KVM_INTERRUPT, &irq) == 0) {
			v->irq_pending[vector / 64] &= ~(1ull << (vector % 64));
			stat_add(&v->stats.num_interrupts, 1);
		}
	}
	v->nmi_first = false;
	if (highest_pending(v) >= 0)
		v->run->request_interrupt_window = 1;
}
