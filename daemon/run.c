/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "run.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "clock.h"
#include "sock.h"
#include "vcpu.h"
#include "vm.h"

static enum run_phase phase_of(const struct vcpu *v)
{
	return atomic_load_explicit(&v->timed_run.phase, memory_order_acquire);
}

static void set_phase(struct vcpu *v, enum run_phase phase)
{
	atomic_store_explicit(&v->timed_run.phase, phase, memory_order_release);
}

void run_start(struct vcpu *v, const struct kvmcpu_request *q)
{
	v->timed_run.budget = q->run.ticks;
	v->timed_run.advance_to = q->run.advance_to_tick;
	v->timed_run.at_exit = q->run.stop_at_exit;
	v->timed_run.instructions = q->run.instructions;
	atomic_store(&v->timed_run.cancelled, false);
	atomic_store(&v->timed_run.event, false);
	set_phase(v, RUN_WANTED);
	vcpu_kick(v);
}

bool run_is_active(const struct vcpu *v)
{
	enum run_phase phase = phase_of(v);

	return phase != RUN_NONE && phase != RUN_DONE;
}

void run_cancel(struct vcpu *v)
{
	atomic_store(&v->timed_run.cancelled, true);
	vcpu_kick(v);
}

void run_post_event(struct vcpu *v)
{
	atomic_store(&v->timed_run.event, true);
	vcpu_kick(v);
}

/* ---- V from here on ---- */

/* KVM stops behind each instruction from now on, or no longer. */
static void set_stepping(struct vcpu *v, bool on)
{
	struct kvm_guest_debug debug = {.control =
					    on ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP : 0};

	if (ioctl(v->fd, KVM_SET_GUEST_DEBUG, &debug) < 0)
		vcpu_stop(v, "KVM_SET_GUEST_DEBUG fails: %s", strerror(errno));
}

bool run_count_step(struct vcpu *v)
{
	if (!run_is_active(v) || v->timed_run.instructions == 0)
		return false;
	v->timed_run.steps++;
	stat_add(&v->stats.num_steps, 1);
	return true;
}

static void begin(struct vcpu *v)
{
	struct run *r = &v->timed_run;
	struct clock *c = &v->clock;
	uint64_t tick = stat_get(&c->tick);

	r->executed = stat_get(&c->executed);
	r->charged = stat_get(&c->charged);
	r->idle = stat_get(&c->idle);
	r->exit_seq = stat_get(&v->exit_seq);
	r->begun_ns = sock_now_ns();
	r->steps = 0;
	if (r->advance_to > tick)
		clock_add_idle(c, r->advance_to - tick);
	tick = stat_get(&c->tick);
	r->end_tick = r->budget > UINT64_MAX - tick ? UINT64_MAX : tick + r->budget;
	atomic_store(&v->settled, false);
	set_phase(v, RUN_GOING);
	if (r->instructions > 0)
		set_stepping(v, true);
	stat_add(&v->stats.num_runs, 1);
}

/* Whether somebody owes the answer to the exit that is being served. */
static bool in_flight(const struct vcpu *v)
{
	return stat_get32(&v->wait_info.cause) != KVMCPU_WAIT_NONE;
}

static void end(struct vcpu *v, enum kvmcpu_run_end why)
{
	v->timed_run.result.end = why;
	set_phase(v, RUN_ENDING);
}

void run_attend(struct vcpu *v)
{
	if (phase_of(v) == RUN_WANTED)
		begin(v);
	if (phase_of(v) != RUN_GOING || !atomic_load(&v->timed_run.cancelled))
		return;
	end(v, KVMCPU_RUN_END_CANCELLED);
	/* An access in flight may never be answered; whoever cancels need not wait. */
	if (in_flight(v))
		run_report(v);
}

bool run_goes_on(struct vcpu *v)
{
	struct run *r = &v->timed_run;

	if (phase_of(v) != RUN_GOING)
		return false;
	if (v->stopped)
		end(v, KVMCPU_RUN_END_STOPPED);
	else if (atomic_load(&r->event))
		end(v, KVMCPU_RUN_END_EVENT);
	else if (v->halted)
		end(v, KVMCPU_RUN_END_HALT);
	else if (r->instructions > 0 && r->steps >= r->instructions)
		end(v, KVMCPU_RUN_END_INSTRUCTIONS);
	else if (r->at_exit && v->asked_seq > r->exit_seq)
		end(v, KVMCPU_RUN_END_EXIT);
	else if (stat_get(&v->clock.tick) >= r->end_tick)
		end(v, KVMCPU_RUN_END_BUDGET);
	return phase_of(v) == RUN_GOING;
}

void run_report(struct vcpu *v)
{
	struct run *r = &v->timed_run;
	const struct clock *c = &v->clock;

	if (phase_of(v) != RUN_ENDING)
		return;
	if (r->instructions > 0)
		set_stepping(v, false);
	r->result = (struct kvmcpu_vcpu_run){
	    .vcpu = v->index,
	    .end = r->result.end,
	    .tick = stat_get(&c->tick),
	    .executed_ticks = stat_get(&c->executed) - r->executed,
	    .charged_ticks = stat_get(&c->charged) - r->charged,
	    .idle_ticks = stat_get(&c->idle) - r->idle,
	    .exit_seq = stat_get(&v->exit_seq),
	    .exits = stat_get(&v->exit_seq) - r->exit_seq,
	    .in_flight = in_flight(v),
	    .instructions = r->steps,
	    .host_ns = sock_now_ns() - r->begun_ns,
	};
	set_phase(v, RUN_DONE);
	vm_notify(v->vm);
}

void run_abandon(struct vcpu *v)
{
	if (!run_is_active(v))
		return;
	if (phase_of(v) == RUN_WANTED)
		begin(v);
	end(v, KVMCPU_RUN_END_STOPPED);
	run_report(v);
}

/* ---- the timer ---- */

int run_timer_create(struct vcpu *v)
{
	struct sigevent e = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};

#ifdef sigev_notify_thread_id
	e.sigev_notify_thread_id = gettid();
#else
	e._sigev_un._tid = gettid();
#endif
	v->timed_run.has_timer = timer_create(CLOCK_MONOTONIC, &e, &v->timed_run.timer) == 0;
	return v->timed_run.has_timer ? 0 : -errno;
}

void run_timer_delete(struct vcpu *v)
{
	if (v->timed_run.has_timer)
		timer_delete(v->timed_run.timer);
	v->timed_run.has_timer = false;
}

void run_timer_arm(struct vcpu *v, uint64_t ns)
{
	struct itimerspec t = {
	    .it_value = {.tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000)}};

	if (ns == 0) /* which would disarm it */
		t.it_value.tv_nsec = 1;
	timer_settime(v->timed_run.timer, 0, &t, NULL);
}

bool run_timer_disarm(struct vcpu *v)
{
	static const struct itimerspec never;
	struct itimerspec left;

	timer_settime(v->timed_run.timer, 0, &never, &left);
	return left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0;
}

uint64_t run_ticks_left(const struct vcpu *v)
{
	uint64_t tick = stat_get(&v->clock.tick), end = v->timed_run.end_tick;

	if (phase_of(v) != RUN_GOING)
		return UINT64_MAX;
	return tick < end ? end - tick : 0;
}
