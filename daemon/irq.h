/* SPDX-License-Identifier: MIT
 *
 * Interrupt lines of the controller in the kernel. A device sets its line with
 * replies, which V applies, and over a control connection, where L does; these
 * two overtake each other. So a line remembers when its level was decided, and
 * a decision that is older changes nothing.
 */
#ifndef KVMCPUD_IRQ_H
#define KVMCPUD_IRQ_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define IRQ_LINES 24 /* of KVM's one IO-APIC */

struct irq_line {
	pthread_mutex_t lock; /* held for one ioctl; shared by the users of the line alone */
	uint64_t decided_ns;  /* lock */
	uint64_t rose_ns;     /* lock; while level: when the edge that KVM saw was decided */
	bool level;	      /* lock */
};

struct irq_lines {
	struct irq_line line[IRQ_LINES];
};

void irq_lines_init(struct irq_lines *lines);
void irq_lines_destroy(struct irq_lines *lines);

/* L, while no V runs: all lines are low, and what was decided before this moment
 * counts no more. */
void irq_lines_reset(struct irq_lines *lines);

/* Any thread. gsi is below IRQ_LINES. decided_ns is CLOCK_MONOTONIC's; 0, or a
 * time to come, means now. */
void irq_line_set(struct irq_lines *lines, int vm_fd, uint32_t gsi, bool level,
		  uint64_t decided_ns);

#endif
