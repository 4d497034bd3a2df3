/* SPDX-License-Identifier: MIT
 *
 * The life of a vCPU's thread: do what was asked, then enter the guest, serve
 * the exit, and again; or wait, while it is paused, halted or stopped.
 *
 * SIGRTMIN is blocked in this thread but for two places: inside KVM_RUN, by
 * KVM_SET_SIGNAL_MASK, and inside ppoll in vcpu_wait. In KVM_RUN it stays
 * pending, so it is taken from the queue after EINTR; nowhere else does anybody
 * look for one.
 */
#include "config.h"

#include "vcpu.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/kvm.h>

#include "exit.h"
#include "interrupt.h"
#include "log.h"
#include "quantum.h"
#include "sock.h"
#include "vm.h"
#include "x86/boot.h"
#include "x86/dump.h"

#define KERNEL_SIGSET_BYTES 8 /* the kernel's sigset_t, not libc's */

struct vcpu *vcpu_new(struct vm *vm, uint32_t index, struct fault *f)
{
	struct vcpu *v = calloc(1, sizeof(*v));
	struct exit_record *record = calloc(1, sizeof(*record));

	if (v == NULL || record == NULL || ring_init(&v->ring, VCPU_RING_BYTES) < 0)
		goto no_memory;
	v->event_buf = malloc(ring_max_record(&v->ring));
	if (v->event_buf == NULL)
		goto no_memory;
	v->vm = vm;
	v->index = index;
	v->record = record;
	atomic_store(&v->pause_wanted, vm->options->paused);
	atomic_store(&v->paused, vm->options->paused); /* it has not run: true from the start */
	if (vcpu_open(v, f) == 0)
		return v;
	vcpu_free(v);
	return NULL;
no_memory:
	fault_set(f, STATUS_OS, "no memory for vCPU %u", index);
	if (v != NULL)
		ring_free(&v->ring);
	free(record);
	free(v);
	return NULL;
}

int vcpu_open(struct vcpu *v, struct fault *f)
{
	struct vm *vm = v->vm;

	atomic_store(&v->state, KVMCPU_VCPU_RUNNING);
	v->fd = ioctl(vm->fd, KVM_CREATE_VCPU, v->index);
	v->run = v->fd < 0 ? MAP_FAILED
			   : mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		return fault_set(f, STATUS_NO_KVM, "KVM refuses vCPU %u: %s", v->index,
				 strerror(errno));
	return x86_boot_vcpu(vm, v->fd, v->index, f);
}

/* What was posted for the guest that was, or held back from it. */
static void forget(struct vcpu *v)
{
	atomic_store(&v->quit, false);
	atomic_store(&v->wake_posted, false);
	atomic_store(&v->nmi_posted, 0);
	for (int i = 0; i < 4; i++)
		atomic_store(&v->irq_posted[i], 0);
	memset(v->irq_pending, 0, sizeof(v->irq_pending));
	v->halted = v->stopped = v->nmi_first = v->completion_due = false;
	atomic_store(&v->settled, false);
	atomic_store(&v->stop_reason, NULL);
	x86_dump_free(v->dump);
	v->dump = NULL;
}

void vcpu_close(struct vcpu *v)
{
	forget(v);
	if (v->run != MAP_FAILED)
		munmap(v->run, v->vm->run_size);
	if (v->fd >= 0)
		close(v->fd);
	v->run = MAP_FAILED;
	v->fd = -1;
}

void vcpu_free(struct vcpu *v)
{
	if (v == NULL)
		return;
	vcpu_close(v);
	ring_free(&v->ring);
	free(v->event_buf);
	free(v->record);
	free(v);
}

/* ---- asked by others ---- */

void vcpu_kick(struct vcpu *v)
{
	atomic_store(&v->attention, true);
	if (!atomic_load(&v->interruptible))
		return; /* it will look before it enters or waits */
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
	syscall(SYS_tgkill, getpid(), (pid_t)atomic_load(&v->tid), SIGRTMIN);
}

void vcpu_quit(struct vcpu *v)
{
	atomic_store(&v->quit, true);
	vcpu_kick(v);
}

void vcpu_set_paused(struct vcpu *v, bool paused)
{
	atomic_store(&v->pause_wanted, paused);
	vcpu_kick(v);
}

static void push(_Atomic(struct job *) *list, struct job *job)
{
	job->next = atomic_load(list);
	while (!atomic_compare_exchange_weak(list, &job->next, job))
		;
}

void vcpu_post(struct vcpu *v, struct job *job)
{
	push(&v->mailbox, job);
	vcpu_kick(v);
}

/* ---- V from here on ---- */

void vcpu_stop(struct vcpu *v, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(v->stop_text, sizeof(v->stop_text), format, args);
	va_end(args);
	v->stopped = true;
	log_error("vCPU %u stopped for good: %s", v->index, v->stop_text);
	x86_dump_free(v->dump);
	v->dump = x86_dump_take(v, v->stop_text);
	if (v->dump != NULL) {
		x86_dump_log(x86_dump_get(v->dump));
		v->record->dump = x86_dump_get(v->dump);
	}
	atomic_store_explicit(&v->stop_reason, v->stop_text, memory_order_release);
	vm_notify(v->vm);
}

/* The jobs of the mailbox, oldest first. */
static void run_jobs(struct vcpu *v)
{
	struct job *job = atomic_exchange(&v->mailbox, NULL), *oldest = NULL;

	while (job != NULL) {
		struct job *next = job->next;
		job->next = oldest;
		oldest = job;
		job = next;
	}
	while (oldest != NULL) {
		struct job *next = oldest->next;
		oldest->run(v, oldest);
		push(&v->vm->finished_jobs, oldest);
		vm_notify(v->vm);
		oldest = next;
	}
}

static void note_pause(struct vcpu *v)
{
	bool wanted = atomic_load(&v->pause_wanted);
	enum kvmcpu_vcpu_state state = atomic_load_explicit(&v->state, memory_order_relaxed);

	if (wanted == atomic_load(&v->paused))
		return;
	if (!wanted)
		atomic_store(&v->settled, false);
	atomic_store(&v->paused, wanted);
	if (wanted && state == KVMCPU_VCPU_RUNNING_SERVICE)
		vcpu_set_state(v, KVMCPU_VCPU_WAITING_REPLY);
	else
		vcpu_tell_state(v, state, state);
	vm_notify(v->vm);
}

/* Does what was asked since the last time. 0, or -ECANCELED to end. */
static int attend(struct vcpu *v)
{
	if (!atomic_exchange(&v->attention, false))
		return 0;
	if (atomic_load(&v->quit))
		return -ECANCELED;
	interrupt_take_posted(v);
	run_jobs(v);
	note_pause(v);
	run_attend(v);
	return 0;
}

static void drop_stale_signals(void)
{
	static const struct timespec now = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	while (sigtimedwait(&set, NULL, &now) > 0)
		;
}

int vcpu_wait(struct vcpu *v, int fd, short events)
{
	struct pollfd p = {.fd = fd, .events = events};

	/* What was asked since the caller looked at its condition may have changed
	 * it: then there is no sleep, and the caller looks again. */
	atomic_store(&v->interruptible, 1);
	if (!atomic_load(&v->attention)) {
		int r = ppoll(&p, 1, NULL, &v->wait_mask);
		if (r < 0 && errno == EINTR)
			drop_stale_signals();
	}
	atomic_store(&v->interruptible, 0);
	return attend(v);
}

/* Completes the access that KVM has pending, without entering the guest. That
 * may turn up a further part of it, which is served like any other. */
static int half_entry(struct vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_RELAXED);
	vcpu_publish(v, sock_now_ns());
	v->completion_due = false;
	int r = ioctl(v->fd, KVM_RUN, 0);
	stat_add(&v->stats.num_vm_half_entries, 1);
	if (r == 0 && v->run->exit_reason == KVM_EXIT_DEBUG && run_count_step(v))
		return 0;
	if (r == 0)
		return exit_serve(v, v->run->exit_reason, sock_now_ns());
	if (errno != EINTR && errno != EAGAIN)
		vcpu_stop(v, "KVM_RUN fails: %s", strerror(errno));
	return 0;
}

static int settle(struct vcpu *v)
{
	while (v->completion_due && !v->stopped) {
		int r = half_entry(v);
		if (r < 0)
			return r;
	}
	if (!v->stopped && !v->halted)
		vcpu_set_state(v, KVMCPU_VCPU_RUNNING);
	if (!atomic_load(&v->settled)) {
		vcpu_publish(v, sock_now_ns());
		atomic_store(&v->settled, true);
		vm_notify(v->vm);
	}
	return 0;
}

/* With --pace realtime the guest does not go on before its access has taken on the
 * host what it costs. True if it must still wait. */
static bool wait_for_release(struct vcpu *v, int *ret)
{
	uint64_t now = v->release_ns != 0 ? sock_now_ns() : 0;

	if (now >= v->release_ns)
		return false;
	run_timer_arm(v, v->release_ns - now);
	*ret = vcpu_wait(v, -1, 0);
	run_timer_disarm(v);
	return true;
}

/* How many ticks the next entry may last: a run's budget, or a quantum, is over then. */
static uint64_t ticks_left(struct vcpu *v)
{
	uint64_t run = run_ticks_left(v), quantum = quantum_ticks_left(v);

	return run < quantum ? run : quantum;
}

/* KVM_RUN, for as long as ticks_left() says. The price of a limit is a
 * timer_settime(2) before and one behind. When the timer has ended it, the timer is
 * right, whatever another source has measured. */
static int run_guest(struct vcpu *v, uint64_t now)
{
	const struct clock_rate *rate = &v->vm->rate;
	uint64_t ticks = ticks_left(v), begun = stat_get(&v->clock.tick), gained;
	uint64_t before = clock_read(rate, now);
	bool limited = ticks != UINT64_MAX && rate->source != CLOCK_SOURCE_NONE;
	int r, error;

	if (limited)
		run_timer_arm(v, clock_ns_for(rate, v->vm->tsc_khz, ticks));
	r = ioctl(v->fd, KVM_RUN, 0);
	error = errno;
	v->left_ns = sock_now_ns();
	clock_add_executed(&v->clock, rate, clock_read(rate, v->left_ns) - before);
	if (limited && run_timer_disarm(v)) {
		drop_stale_signals();
		gained = stat_get(&v->clock.tick) - begun;
		if (gained < ticks)
			clock_add_ticks_executed(&v->clock, ticks - gained);
	}
	errno = error;
	return r;
}

static int enter(struct vcpu *v)
{
	uint64_t now;
	int r;

	if (wait_for_release(v, &r) || quantum_wait(v, &r))
		return r;
	interrupt_deliver(v);
	vcpu_set_state(v, KVMCPU_VCPU_RUNNING);
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_RELAXED);
	atomic_store(&v->interruptible, 1);
	if (atomic_load(&v->attention)) {
		atomic_store(&v->interruptible, 0);
		return 0;
	}
	now = sock_now_ns();
	vcpu_publish(v, now);
	if (atomic_load_explicit(&v->first_entry_ns, memory_order_relaxed) == 0)
		atomic_store_explicit(&v->first_entry_ns, now, memory_order_relaxed);
	v->completion_due = false;
	r = run_guest(v, now);
	now = v->left_ns;
	atomic_store(&v->interruptible, 0);
	stat_add(&v->stats.num_vm_exits, 1);
	if (r == 0 && v->run->exit_reason == KVM_EXIT_DEBUG && run_count_step(v))
		return 0;
	if (r == 0)
		return exit_serve(v, v->run->exit_reason, now);
	if (errno == EINTR) {
		drop_stale_signals();
		stat_add(&v->stats.num_exit_signal, 1);
	} else if (errno != EAGAIN) { /* a secondary vCPU that was just started says that */
		vcpu_stop(v, "KVM_RUN fails: %s", strerror(errno));
		return 0;
	}
	return exit_serve(v, KVM_EXIT_INTR, now);
}

/* Nothing is to be done until somebody asks. A vCPU that is free to run and halted
 * spends that time idle. */
static int wait_idle(struct vcpu *v, bool goes_on)
{
	const struct clock_rate *rate = &v->vm->rate;
	uint64_t before = clock_read(rate, sock_now_ns());
	bool idle = v->halted && !v->stopped && goes_on; /* a wake ends the halt in there */
	int r;

	quantum_leave(v);
	r = vcpu_wait(v, -1, 0);
	if (idle)
		clock_add_idle_units(&v->clock, rate, clock_read(rate, sock_now_ns()) - before);
	return r;
}

static int step(struct vcpu *v)
{
	int r = attend(v);
	bool goes_on;

	if (r < 0)
		return r;
	if (v->halted && interrupt_ends_halt(v))
		v->halted = false;
	goes_on = run_goes_on(v) || !atomic_load(&v->paused);
	if (v->stopped) {
		vcpu_set_state(v, KVMCPU_VCPU_STOPPED);
	} else if (v->halted) {
		vcpu_set_state(v, KVMCPU_VCPU_IDLE);
	} else if (goes_on) {
		return enter(v);
	}
	if (atomic_load(&v->paused)) {
		r = settle(v);
		if (r < 0)
			return r;
		run_report(v);
	}
	return wait_idle(v, goes_on);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu-%u", v->index);
	pthread_setname_np(pthread_self(), name);
	atomic_store(&v->tid, (uint32_t)gettid());
	atomic_store(&v->attention, true);
	if (run_timer_create(v) < 0)
		vcpu_stop(v, "no timer for the thread: %s", strerror(errno));
	while (step(v) == 0)
		;
	/* What is left in the mailbox is answered, so that nobody waits for it. */
	run_jobs(v);
	quantum_leave(v);
	run_abandon(v);
	run_timer_delete(v);
	vcpu_publish(v, sock_now_ns());
	claims_release(&v->hold);
	return NULL;
}

static int set_signal_mask(struct vcpu *v)
{
	struct {
		struct kvm_signal_mask head;
		sigset_t set;
	} mask = {.head.len = KERNEL_SIGSET_BYTES};

	sigfillset(&v->wait_mask);
	sigdelset(&v->wait_mask, SIGRTMIN);
	memcpy(mask.head.sigset, &v->wait_mask, KERNEL_SIGSET_BYTES);
	return ioctl(v->fd, KVM_SET_SIGNAL_MASK, &mask);
}

int vcpu_start(struct vcpu *v, struct fault *f)
{
	int r;

	if (set_signal_mask(v) < 0)
		return fault_set(f, STATUS_NO_KVM, "KVM_SET_SIGNAL_MASK fails: %s",
				 strerror(errno));
	r = pthread_create(&v->thread, NULL, vcpu_main, v);
	if (r != 0)
		return fault_set(f, STATUS_OS, "cannot start the thread of vCPU %u: %s", v->index,
				 strerror(r));
	v->started = true;
	return 0;
}

void vcpu_join(struct vcpu *v)
{
	if (v->started)
		pthread_join(v->thread, NULL);
	v->started = false;
}
