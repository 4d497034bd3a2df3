/* SPDX-License-Identifier: MIT
 *
 * Order of birth: options, lock, VM, vCPUs, loop with its sockets, vCPU
 * threads, readiness. Order of death: the reverse, so that no client sees a
 * socket without a VM behind it.
 */
#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_SYSTEMD
#include <systemd/sd-daemon.h>
#endif

#include "log.h"
#include "loop.h"
#include "options.h"
#include "rundir.h"
#include "sock.h"
#include "stats.h"
#include "vcpu.h"
#include "vm.h"

/* Where a standard stream is closed, the next descriptor would take its place, and
 * the log would be written to a lock file or a socket. */
static void hold_standard_streams(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

static void on_kick(int number)
{
	/* The signal's work is to end a system call. */
}

/* vCPU threads inherit a mask that blocks everything; the loop takes SIGTERM and
 * SIGINT by libevent. */
static void set_signals(void)
{
	struct sigaction kick = {.sa_handler = on_kick};
	sigset_t all;

	sigemptyset(&kick.sa_mask);
	sigaction(SIGRTMIN, &kick, NULL);
	signal(SIGPIPE, SIG_IGN);
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
}

static void unblock_loop_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void tell_ready(void)
{
#ifdef HAVE_SYSTEMD
	sd_notify(0, "READY=1");
#endif
}

static int status_of(struct vm *vm)
{
	if (vm->stop_wanted)
		return (int)vm->stop_code;
	for (uint32_t i = 0; i < vm->n_vcpus; i++)
		if (vm->vcpus[i]->stop_reason != NULL)
			return STATUS_GUEST;
	return STATUS_OK;
}

static void log_end(struct vm *vm, const struct loop *l)
{
	uint64_t ms = (sock_now_ns() - vm->started_ns) / 1000000;
	char counts[200], why[KVMCPU_MAX_REASON + 64] = "a vCPU stopped for good";

	if (l->signal != 0)
		snprintf(why, sizeof(why), "SIG%s", sigabbrev_np(l->signal));
	else if (vm->stop_wanted)
		snprintf(why, sizeof(why), "stopped with code %u%s%s", vm->stop_code,
			 vm->stop_reason[0] ? ": " : "", vm->stop_reason);
	stats_summary(vm, counts, sizeof(counts));
	log_info("ended (%s) after %llu.%03llu s: %s", why, (unsigned long long)ms / 1000,
		 (unsigned long long)ms % 1000, counts);
}

static int run_vm(struct vm *vm, struct rundir *dir, struct fault *f)
{
	struct loop loop = {0};
	int status = -1;

	if (vm_create_vcpus(vm, f) == 0 && loop_create(&loop, vm, dir->path, f) == 0 &&
	    vm_start(vm, f) == 0) {
		unblock_loop_signals();
		log_info("%u vCPUs, %llu MiB, sockets in %s%s", vm->n_vcpus,
			 (unsigned long long)vm->options->memory_bytes >> 20, dir->path,
			 vm->options->paused ? ", paused" : "");
		tell_ready();
		loop_run(&loop);
		vm_join(vm);
		log_end(vm, &loop);
		status = status_of(vm);
		if (loop.failed) {
			*f = loop.fault;
			status = -1;
		}
	} else {
		vm_join(vm);
	}
	loop_destroy(&loop);
	return status;
}

int main(int argc, char **argv)
{
	struct options options;
	struct rundir dir;
	struct vm vm;
	struct fault f;
	int status;

	hold_standard_streams();
	status = options_read(&options, argc, argv);
	if (status != -1)
		return status;
	log_setup("kvmcpud", options.name, options.log_level);
	set_signals();
	if (rundir_take(&dir, &options, &f) == 0 && vm_create(&vm, &options, &f) == 0) {
		status = run_vm(&vm, &dir, &f);
		vm_destroy(&vm);
	}
	rundir_release(&dir);
	if (status == -1) {
		log_error("%s", f.text);
		status = (int)f.status;
	}
	return status;
}
