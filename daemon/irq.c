/* SPDX-License-Identifier: MIT
 *
 * The lock keeps two decisions about one line from passing each other between
 * the comparison and KVM. Of two that were decided in the same nanosecond the
 * one that arrives later counts.
 */
#include "config.h"

#include "irq.h"

#include <sys/ioctl.h>

#include <linux/kvm.h>

#include "sock.h"

void irq_lines_init(struct irq_lines *lines)
{
	*lines = (struct irq_lines){0};
	for (unsigned i = 0; i < IRQ_LINES; i++)
		pthread_mutex_init(&lines->line[i].lock, NULL);
}

void irq_lines_destroy(struct irq_lines *lines)
{
	for (unsigned i = 0; i < IRQ_LINES; i++)
		pthread_mutex_destroy(&lines->line[i].lock);
}

void irq_lines_reset(struct irq_lines *lines)
{
	for (unsigned i = 0; i < IRQ_LINES; i++)
		lines->line[i].decided_ns = sock_now_ns();
}

void irq_line_set(struct irq_lines *lines, int vm_fd, uint32_t gsi, bool level, uint64_t decided_ns)
{
	struct kvm_irq_level kvm = {.irq = gsi, .level = level};
	struct irq_line *line = &lines->line[gsi];
	uint64_t now = sock_now_ns();

	if (decided_ns == 0 || decided_ns > now)
		decided_ns = now;
	pthread_mutex_lock(&line->lock);
	if (decided_ns >= line->decided_ns) {
		line->decided_ns = decided_ns;
		/* The number was checked; KVM has no other reason to refuse. */
		(void)ioctl(vm_fd, KVM_IRQ_LINE, &kvm);
	}
	pthread_mutex_unlock(&line->lock);
}
