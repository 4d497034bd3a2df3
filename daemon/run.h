/* SPDX-License-Identifier: MIT
 *
 * A run by budget: a paused vCPU runs until its clock has advanced by so many ticks,
 * or until something else ends the run, and says what was executed and why it ended.
 *
 * L fills in what is wanted and moves the phase from NONE or DONE to WANTED; V takes
 * it from there to DONE, and L reads the result then. While a run is going the vCPU
 * stays paused in every other respect: when it ends, the access that KVM has pending
 * is completed, as for any pause, before the result counts.
 *
 * The timer that ends an entry in time is a POSIX timer of V's own. It sends the same
 * signal as a kick, so it has no race with KVM_RUN that a kick has not.
 */
#ifndef KVMCPUD_RUN_H
#define KVMCPUD_RUN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "types.h"

struct vcpu;

enum run_phase { RUN_NONE, RUN_WANTED, RUN_GOING, RUN_ENDING, RUN_DONE };

struct run {
	_Atomic uint32_t phase;	    /* enum run_phase */
	_Atomic bool cancelled;	    /* any thread sets */
	_Atomic bool event;	    /* any thread sets: an effect ends it */
	uint64_t budget;	    /* L, before WANTED; ticks */
	uint64_t advance_to;	    /* the same; a tick */
	bool at_exit;		    /* the same */
	uint64_t instructions;	    /* the same; 0: as many as there is time for */
	uint64_t owner;		    /* L only; the session's number */
	uint64_t end_tick;	    /* V only, as the rest but result */
	uint64_t executed, charged; /* the clock's parts when it began */
	uint64_t idle, exit_seq, begun_ns;
	uint64_t steps; /* instructions completed, if they are limited */
	timer_t timer;
	bool has_timer;
	struct kvmcpu_vcpu_run result; /* V, before DONE; L behind it */
};

/* ---- L ---- */

/* The vCPU is paused and no run of it is going. Kicks it. */
void run_start(struct vcpu *v, const struct kvmcpu_request *q);
/* WANTED, GOING or ENDING. Any thread. */
bool run_is_active(const struct vcpu *v);

/* ---- any thread ---- */

void run_cancel(struct vcpu *v);
/* A run that is going ends once the access being served is answered; there need be
 * none. */
void run_post_event(struct vcpu *v);

/* ---- V ---- */

/* Begins and cancels what was asked for. */
void run_attend(struct vcpu *v);
/* Whether a run lets the vCPU run now. Ends one that is over. */
bool run_goes_on(struct vcpu *v);
/* A KVM_EXIT_DEBUG has come. True if it ends a single step of this run. */
bool run_count_step(struct vcpu *v);
/* Behind settle(): the result of a run that has ended. */
void run_report(struct vcpu *v);
/* At the thread's end: nobody waits for a result for ever. */
void run_abandon(struct vcpu *v);

/* The thread's timer. arm's ns counts from now. disarm returns whether it had
 * expired. */
int run_timer_create(struct vcpu *v);
void run_timer_arm(struct vcpu *v, uint64_t ns);
bool run_timer_disarm(struct vcpu *v);
void run_timer_delete(struct vcpu *v);
/* What is left of the budget; UINT64_MAX if no run is going. */
uint64_t run_ticks_left(const struct vcpu *v);

#endif
