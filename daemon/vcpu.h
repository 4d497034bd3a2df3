/* SPDX-License-Identifier: MIT
 *
 * One vCPU and its thread, V. V alone issues the vCPU's ioctls and writes this
 * structure, but for the fields marked otherwise; L asks it for something by
 * setting a field, or posting a job, and kicking it.
 *
 * A kick sets attention and, if V is in the guest or in a wait, sends SIGRTMIN
 * and sets immediate_exit. V sets interruptible before it looks at attention
 * for the last time, and the kicker reads them in the other order, so one of
 * the two always sees the other. A signal that comes too late fells the next
 * entry, which is made again; nobody sees it but num_exit_signal.
 */
#ifndef KVMCPUD_VCPU_H
#define KVMCPUD_VCPU_H

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "claim.h"
#include "clock.h"
#include "fault.h"
#include "frame.h"
#include "ring.h"
#include "run.h"
#include "stats.h"
#include "types.h"

struct exit_record;
struct kvm_run;
struct vcpu;
struct vm;
struct x86_dump;

/* Work for V. run is called by V, outside the guest, then done by L. The job
 * belongs to V in between. */
struct job {
	struct job *next;
	void (*run)(struct vcpu *v, struct job *job);
	void (*done)(struct job *job);
};

#define VCPU_RING_BYTES (512u << 10) /* some 5000 exits; see DESIGN's memory bound */
#define VCPU_FRAME_SIZE (KVMCPU_PIO_MAX + 512)

/* What V waits for, for status. V writes, L reads: gen is odd while V writes. */
struct vcpu_wait_info {
	_Atomic uint32_t gen;
	_Atomic uint32_t cause; /* enum kvmcpu_wait_cause */
	_Atomic uint64_t since_ns;
	_Atomic uint32_t kind, direction, size;
	_Atomic uint64_t exit_seq, address;
	/* Valid for L while cause is not NONE: V's hold keeps it, or, if ABSENT, L's
	 * own table does. */
	_Atomic(const struct claim *) claim;
};

struct vcpu {
	struct vm *vm;	      /* const */
	uint32_t index;	      /* const */
	int fd;		      /* owned; const while the thread runs */
	struct kvm_run *run;  /* the same, a mapping; immediate_exit: any thread */
	pthread_t thread;     /* const while it runs */
	_Atomic uint32_t tid; /* 0 until the thread runs */

	/* Anybody sets, V takes. */
	_Atomic bool attention;
	_Atomic int interruptible;
	_Atomic bool quit;
	_Atomic bool pause_wanted;
	_Atomic bool wake_posted;
	_Atomic uint32_t nmi_posted;
	_Atomic uint64_t irq_posted[4]; /* a bit for each vector */
	_Atomic(struct job *) mailbox;

	/* V sets, anybody reads. */
	_Atomic uint32_t state; /* enum kvmcpu_vcpu_state */
	_Atomic bool paused;	/* it has seen pause_wanted */
	_Atomic bool competing; /* see quantum.h, as the next */
	_Atomic bool at_barrier;
	_Atomic bool settled; /* paused, nothing in flight, nothing to complete */
	_Atomic uint64_t exit_seq;
	_Atomic uint64_t first_entry_ns;
	_Atomic(const char *) stop_reason; /* points to stop_text once it is whole */
	struct vcpu_wait_info wait_info;
	struct clock clock;
	struct run timed_run; /* see run.h */
	struct vcpu_stats stats;
	struct ring ring; /* readers: L */

	/* V's own. */
	sigset_t wait_mask; /* in a wait: SIGRTMIN unblocked */
	bool halted;
	bool stopped;
	bool nmi_first;	     /* an NMI was given since the last entry */
	bool completion_due; /* KVM finishes an access with the next entry */
	uint64_t asked_seq;  /* the last exit that somebody was asked about, and answered */
	uint64_t left_ns;    /* when KVM_RUN returned last */
	uint64_t release_ns; /* not to re-enter before, with --pace realtime */
	uint64_t irq_pending[4];
	struct claim_hold hold; /* read by L */
	char stop_text[256];
	uint8_t frame[FRAME_HEADER_MAX + VCPU_FRAME_SIZE];
	size_t exit_size;	    /* of the packed Exit behind the header's room */
	struct exit_record *record; /* owned; the exit being served, or not yet published */
	struct x86_dump *dump;	    /* owned; taken when it stopped, or NULL */
	uint8_t *event_buf;	    /* owned; ring_max_record() bytes */

	struct vcpu *next_waiter; /* channel.turn_lock */

	bool started; /* L only */
};

/* L, before threads. NULL with fault set. */
struct vcpu *vcpu_new(struct vm *vm, uint32_t index, struct fault *f);
/* L, while the thread does not run: gives back what KVM has of it; makes it anew
 * in its first state. */
void vcpu_close(struct vcpu *v);
int vcpu_open(struct vcpu *v, struct fault *f);
int vcpu_start(struct vcpu *v, struct fault *f);
/* Asks V to end. Any thread. */
void vcpu_quit(struct vcpu *v);
/* L; after vcpu_quit. Waits for the thread. */
void vcpu_join(struct vcpu *v);
void vcpu_free(struct vcpu *v);

/* Any thread. */
void vcpu_kick(struct vcpu *v);
void vcpu_post(struct vcpu *v, struct job *job);
void vcpu_set_paused(struct vcpu *v, bool paused);

/* L: a consistent copy of what it waits for; false if it waits for nobody. */
bool vcpu_get_wait(struct vcpu *v, struct kvmcpu_vcpu_status *ret);

/* V only, all of the following.
 *
 * Waits until fd is ready for events (poll(2)'s), or only for a kick if fd is
 * -1, and does what was asked of V meanwhile. Returns 0 to look again, or
 * -ECANCELED if V must end. Every wait of V goes through here. */
int vcpu_wait(struct vcpu *v, int fd, short events);
/* Says whom V waits for with which exit, until the next call; vcpu_tell_wait_cause
 * changes the cause alone, and NONE ends it. */
void vcpu_tell_wait(struct vcpu *v, enum kvmcpu_wait_cause cause, const struct kvmcpu_exit *x,
		    const struct claim *claim);
void vcpu_tell_wait_cause(struct vcpu *v, enum kvmcpu_wait_cause cause);
/* Goes to another state; told changes are those that no exit's times tell. */
void vcpu_set_state(struct vcpu *v, enum kvmcpu_vcpu_state state);
/* An event for it, also if it is the same and something else has changed (paused). */
void vcpu_tell_state(struct vcpu *v, enum kvmcpu_vcpu_state from, enum kvmcpu_vcpu_state to);
/* Stops it for good. */
void vcpu_stop(struct vcpu *v, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes the finished exit to the ring, if there is one. */
void vcpu_publish(struct vcpu *v, uint64_t reentered_ns);

#endif
