/* SPDX-License-Identifier: MIT
 *
 * The lock keeps two decisions about one line from passing each other between
 * the comparison and KVM. Of two that were decided in the same nanosecond the
 * one that arrives later counts.
 *
 * A level that comes late is still shown for a moment, if it is another than the
 * line's: a line that was lowered and raised again has an edge, which is all that
 * an edge-triggered input sees, and without the low in between there is none.
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
		lines->line[i].level = false;
	lines->since_ns = sock_now_ns();
}

/* The number was checked; KVM has no other reason to refuse. */
static void show(int vm_fd, uint32_t gsi, bool level)
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
	if (decided_ns < lines->since_ns)
		return;
	pthread_mutex_lock(&line->lock);
	if (decided_ns >= line->decided_ns) {
		line->decided_ns = decided_ns;
		line->level = level;
		show(vm_fd, gsi, level);
	} else if (level != line->level) {
		show(vm_fd, gsi, level);
		show(vm_fd, gsi, line->level);
	}
	pthread_mutex_unlock(&line->lock);
}
