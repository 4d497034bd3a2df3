/* SPDX-License-Identifier: MIT
 *
 * The lock keeps two decisions about one line from passing each other between
 * the comparison and KVM. Of two that were decided in the same nanosecond the
 * one that arrives later counts.
 *
 * A fall that was overtaken by the rise behind it changes no level, but it did make
 * an edge, and for a line that interrupts by its edge that is all there is: the guest
 * would wait for ever. So it is made up for.
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
	for (unsigned i = 0; i < IRQ_LINES; i++) {
		lines->line[i].decided_ns = sock_now_ns();
		lines->line[i].level = false;
	}
}

/* Under the lock. The numbers were checked; KVM has no other reason to refuse. */
static void drive(int vm_fd, uint32_t gsi, bool level)
{
	struct kvm_irq_level kvm = {.irq = gsi, .level = level};

	(void)ioctl(vm_fd, KVM_IRQ_LINE, &kvm);
}

void irq_line_set(struct irq_lines *lines, int vm_fd, uint32_t gsi, bool level, uint64_t decided_ns)
{
	struct irq_line *line = &lines->line[gsi];
	uint64_t now = sock_now_ns();

	if (decided_ns == 0 || decided_ns > now)
		decided_ns = now;
	pthread_mutex_lock(&line->lock);
	if (decided_ns >= line->decided_ns) {
		line->decided_ns = decided_ns;
		if (level && !line->level)
			line->rose_ns = decided_ns;
		line->level = level;
		drive(vm_fd, gsi, level);
	} else if (!level && line->level && decided_ns > line->rose_ns) {
		line->rose_ns = line->decided_ns;
		drive(vm_fd, gsi, false);
		drive(vm_fd, gsi, true);
	}
	pthread_mutex_unlock(&line->lock);
}
