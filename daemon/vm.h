/* SPDX-License-Identifier: MIT
 *
 * The virtual machine: KVM's descriptors, guest memory, the vCPUs, and the few
 * things that vCPU threads tell the event loop.
 *
 * Two kinds of thread meet here: V, one per vCPU, and L, the event loop, which
 * is the main thread. "const" below means set before the first V starts.
 */
#ifndef KVMCPUD_VM_H
#define KVMCPUD_VM_H

#include <pthread.h>
#include <stdatomic.h>

#include "claim.h"
#include "clock.h"
#include "fault.h"
#include "irq.h"
#include "memory.h"
#include "options.h"
#include "x86/boot.h"

struct vcpu;
struct job;

#define VM_TICKS_PER_SECOND 1000000000000ull /* a tick is a picosecond */
#define VM_MAX_NOTES 8

struct vm {
	const struct options *options; /* const; borrowed */
	int kvm_fd;		       /* const; owned */
	int fd;			       /* owned; const but for a reset, when no V runs */
	size_t run_size;	       /* const; bytes of a vCPU's kvm_run mapping */
	struct memory memory;	       /* layout const */
	struct x86_start start;	       /* const */
	bool has_sync_regs;	       /* const; see x86/hypercall.h */
	struct vcpu *vcpus[KVMCPU_MAX_VCPUS];
	uint32_t n_vcpus;		 /* const */
	uint64_t started_ns;		 /* const */
	bool steps_known;		 /* L only, as the next */
	int steps_trap;			 /* x86_single_steps_trap()'s answer */
	uint64_t instance;		 /* L only; drawn at the start and at each reset */
	const char *notes[VM_MAX_NOTES]; /* const; degraded modes, for status */
	size_t n_notes;			 /* const */
	struct clock_rate rate;		 /* const; of all vCPUs' clocks */
	uint32_t tsc_khz;		 /* const; 0 unless the clock is the TSC's */
	struct claims claims;		 /* see claim.h */
	struct irq_lines irqs;		 /* see irq.h */

	/* V tells L: something below, or in some vcpu, has changed. */
	int notify_fd;			     /* const; owned; an eventfd */
	_Atomic(struct job *) finished_jobs; /* V pushes, L takes all */
	pthread_mutex_t stop_lock;
	bool stop_wanted;			 /* stop_lock */
	bool stop_is_reset;			 /* stop_lock; the guest wants to start again */
	uint32_t stop_code;			 /* stop_lock */
	char stop_reason[KVMCPU_MAX_REASON + 1]; /* stop_lock */
};

/* Opens KVM, makes the VM and its memory and loads what options name. -1 with
 * fault set and nothing held. */
int vm_create(struct vm *vm, const struct options *options, struct fault *f);
void vm_destroy(struct vm *vm);
/* Makes the vCPUs; their threads wait until vm_start. */
int vm_create_vcpus(struct vm *vm, struct fault *f);
int vm_start(struct vm *vm, struct fault *f);
/* Ends every vCPU thread and waits for it. L only; blocks for as long as it
 * takes to leave the guest. */
void vm_join(struct vm *vm);

/* Starts the VM again, as vm_create and vm_start once did: KVM's part is made
 * anew, memory is loaded anew, vCPUs keep their clocks, counters and rings.
 * Behind vm_join; L only; blocks for as long as that takes. -1 with fault set:
 * the VM can only be joined and destroyed then. */
int vm_reset(struct vm *vm, struct fault *f);

/* Wakes L. Any thread. */
void vm_notify(struct vm *vm);
/* Asks L to end the daemon with this status, or, with reset, to do what the
 * options say to that. The first request counts, but an end comes before a
 * reset. Any thread. reason may be NULL. */
void vm_request_stop(struct vm *vm, uint32_t code, const char *reason, bool reset);

/* What a client is told of the VM; strings are borrowed. */
void vm_info(const struct vm *vm, struct kvmcpu_vm_info *ret);
void vm_memory_map(const struct vm *vm, struct kvmcpu_memory_map *ret);

/* Whether an effect fits this VM, and applying it. check returns 0 or -EPROTO
 * with err set, and -ENOTSUP for what this configuration cannot do. Both from
 * any thread; neither blocks. */
int vm_check_effect(const struct vm *vm, const struct kvmcpu_effect *e, struct codec_error *err);
void vm_apply_effect(struct vm *vm, const struct kvmcpu_effect *e);

#endif
