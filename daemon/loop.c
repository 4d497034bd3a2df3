/* SPDX-License-Identifier: MIT
 *
 * vCPU threads leave their news where it belongs (finished jobs, dead channels,
 * settled flags, a stop request) and write to one eventfd; the loop then looks
 * at all of it. That costs a few loads for each vCPU and saves every queue.
 */
#include "config.h"

#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <event2/event.h>

#include "channel.h"
#include "control_call.h"
#include "device.h"
#include "listener.h"
#include "log.h"
#include "monitor.h"
#include "session.h"
#include "vcpu.h"
#include "vm.h"

static void finish_jobs(struct vm *vm)
{
	struct job *job = atomic_exchange(&vm->finished_jobs, NULL);

	while (job != NULL) {
		struct job *next = job->next;
		job->done(job);
		job = next;
	}
}

static bool any_failed(const struct vm *vm)
{
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (atomic_load(&vm->vcpus[i]->stop_reason) != NULL)
			return true;
	return false;
}

static void end(struct loop *l)
{
	l->done = true;
	event_base_loopbreak(l->base);
}

/* The one thing for which L waits: with no vCPU running there is nothing else to
 * be done. Claims are absent when the guest starts, so that it waits for its
 * devices where they say so. */
static void reset(struct loop *l)
{
	vm_join(l->vm);
	finish_jobs(l->vm);
	monitor_pump_all(l);
	if (!l->vm->stop_is_reset) { /* a vCPU's last word was another */
		end(l);
		return;
	}
	log_info("the VM starts again: %s", l->vm->stop_reason);
	device_reset_all(l);
	if (vm_reset(l->vm, &l->fault) == 0)
		return;
	l->failed = true;
	end(l);
}

static void on_notify(evutil_socket_t fd, short what, void *arg)
{
	struct loop *l = arg;
	struct vm *vm = l->vm;
	uint64_t count;
	bool stop, again;

	if (read(fd, &count, sizeof(count)) < 0)
		return;
	finish_jobs(vm);
	device_reap(l);
	control_check_pauses(l);
	control_check_runs(l);
	monitor_pump_all(l);
	claims_collect(&vm->claims);
	pthread_mutex_lock(&vm->stop_lock);
	stop = vm->stop_wanted;
	again = vm->stop_is_reset && vm->options->restart;
	pthread_mutex_unlock(&vm->stop_lock);
	if (stop && again)
		reset(l);
	else if (stop || (vm->options->exit_on_failure && any_failed(vm)))
		end(l);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
	struct loop *l = arg;

	l->signal = number;
	end(l);
}

static struct event *add(struct event *e)
{
	if (e != NULL && event_add(e, NULL) < 0) {
		event_free(e);
		return NULL;
	}
	return e;
}

int loop_create(struct loop *l, struct vm *vm, const char *directory, struct fault *f)
{
	*l = (struct loop){.vm = vm, .next_client_id = 1, .hang_ups = epoll_create1(EPOLL_CLOEXEC)};
	TAILQ_INIT(&l->sessions);
	l->base = event_base_new();
	if (l->base == NULL) {
		close(l->hang_ups);
		return fault_set(f, STATUS_OS, "no memory left");
	}
	l->hang_up =
	    l->hang_ups < 0
		? NULL
		: add(event_new(l->base, l->hang_ups, EV_READ | EV_PERSIST, device_hung_up, l));
	l->notify = add(event_new(l->base, vm->notify_fd, EV_READ | EV_PERSIST, on_notify, l));
	l->sigterm = add(evsignal_new(l->base, SIGTERM, on_signal, l));
	l->sigint = add(evsignal_new(l->base, SIGINT, on_signal, l));
	if (l->notify == NULL || l->sigterm == NULL || l->sigint == NULL || l->hang_up == NULL) {
		loop_destroy(l);
		return fault_set(f, STATUS_OS, "no memory left");
	}
	for (int role = KVMCPU_ROLE_DEVICE; role <= KVMCPU_ROLE_CONTROL; role++) {
		l->listeners[role] = listener_new(l, role, directory, f);
		if (l->listeners[role] == NULL) {
			loop_destroy(l);
			return -1;
		}
	}
	return 0;
}

void loop_run(struct loop *l)
{
	if (!l->done)
		event_base_dispatch(l->base);
}

void loop_kick_all(struct loop *l)
{
	for (uint32_t i = 0; i < l->vm->n_vcpus; i++)
		vcpu_kick(l->vm->vcpus[i]);
}

void loop_destroy(struct loop *l)
{
	char text[KVMCPU_MAX_REASON + 32];
	struct session *s;

	if (l->base == NULL)
		return;
	snprintf(text, sizeof(text), "the VM has stopped%s%s", *l->vm->stop_reason ? ": " : "",
		 l->vm->stop_reason);
	for (int role = KVMCPU_ROLE_DEVICE; role <= KVMCPU_ROLE_CONTROL; role++)
		listener_free(l->listeners[role]);
	finish_jobs(l->vm);
	if (l->vm->vcpus[0] != NULL)
		monitor_pump_all(l); /* the last events */
	while ((s = TAILQ_FIRST(&l->sessions)) != NULL) {
		if (s->channel != NULL)
			channel_fail(s->channel, KVMCPU_NOTICE_STOPPED, text);
		session_end(s);
	}
	if (l->notify != NULL)
		event_free(l->notify);
	if (l->sigterm != NULL)
		event_free(l->sigterm);
	if (l->sigint != NULL)
		event_free(l->sigint);
	if (l->hang_up != NULL)
		event_free(l->hang_up);
	if (l->hang_ups >= 0)
		close(l->hang_ups);
	event_base_free(l->base);
	l->base = NULL;
}
