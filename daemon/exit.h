/* SPDX-License-Identifier: MIT
 *
 * What becomes of an exit: decoded by a table, offered to whoever claims it,
 * answered, accounted, written to the ring. V only.
 */
#ifndef KVMCPUD_EXIT_H
#define KVMCPUD_EXIT_H

#include "ring.h"
#include "types.h"

struct vcpu;
struct kvm_run;

/* One row for each KVM_EXIT_* that has a name here. */
struct exit_type {
	enum kvmcpu_exit_kind kind;
	enum kvmcpu_space space; /* where its claims are; 0: nobody is asked */
	bool completes;		 /* KVM takes the answer over with the next entry */
	bool fatal;
	void (*decode)(struct kvm_run *run, struct kvmcpu_exit *x);
	/* Puts the answer where KVM looks for it. data is as long as the exit asked
	 * for; ok false is a bus error, and data is all ones then. */
	void (*finish)(struct vcpu *v, const struct kvmcpu_exit *x, const uint8_t *data, bool ok);
};

/* Never NULL: a reason without a row is fatal and of kind UNKNOWN. */
const struct exit_type *exit_type_of(uint32_t reason);

/* An exit that is answered but not yet written to the ring, since the time of
 * re-entry is still to come. */
struct exit_record {
	bool due;
	bool by_client; /* its times go into the histograms */
	struct ring_tag tag;
	uint64_t left_ns, sent_ns, replied_ns;
	enum kvmcpu_answerer answered_by;
	uint32_t claim_id, client_id;
	const struct kvmcpu_dump *dump; /* NULL unless it stopped the vCPU; borrowed */
	/* Since the exit before; and the clock's parts then. */
	uint64_t executed_ticks, idle_ticks, executed_before, idle_before;
	size_t reply_size;
	uint8_t reply[KVMCPU_DEVICE_FRAME_MAX]; /* packed */
};

/* Serves the exit that KVM_RUN has just reported with this KVM_EXIT_* reason;
 * left_ns is when. Returns 0, or -ECANCELED if the vCPU must end, with the exit
 * unanswered. */
int exit_serve(struct vcpu *v, uint32_t reason, uint64_t left_ns);

#endif
