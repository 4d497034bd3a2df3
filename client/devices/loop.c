/* SPDX-License-Identifier: MIT
 *
 * One thread for everything. The guest's exits come first: as in
 * kvmcpu_device_run() the next one is looked for, with the processor yielded in
 * between, before anything sleeps, since being woken is the dear part. All other
 * descriptors are polled when it comes to sleeping, and while exits keep coming
 * once in a while.
 *
 * What a device does on its own account is saved before the daemon is told of
 * it. Telling waits for the daemon's loop, which never waits for a client.
 */
#include "config.h"

#include "loop.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "sock.h"

/* Picked: typed input is seen as soon as anybody could notice, and a poll of 1 us
 * does not slow the exits down. */
#define POLL_EVERY_NS 250000

/* Serves the exits that are there; *ret_found says whether there were any. */
static int serve(struct machine *m, bool *ret_found)
{
	uint64_t before = m->pc.served;
	int r = kvmcpu_device_dispatch(m->device, pc_serve, &m->pc);

	*ret_found = m->pc.served != before;
	return r;
}

static int poll_all(struct machine *m, uint64_t timeout_ns)
{
	struct pollfd p[1 + STREAM_POLLS];
	struct timespec t = {.tv_sec = (time_t)(timeout_ns / 1000000000),
			     .tv_nsec = (long)(timeout_ns % 1000000000)};
	size_t n = console_poll(&m->console, p + 1);
	int r;

	p[0] = (struct pollfd){.fd = kvmcpu_device_fd(m->device), .events = POLLIN};
	r = ppoll(p, 1 + n, timeout_ns != UINT64_MAX ? &t : NULL, NULL);
	m->polled_ns = sock_now_ns();
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	if (r > 0)
		console_polled(&m->console, p + 1, n);
	return 0;
}

static int sleep_until_something(struct machine *m)
{
	bool found;
	int r = poll_all(m, cmos_timeout_ns(&m->cmos));

	return r < 0 ? r : serve(m, &found);
}

/* Looks for the next exit for a while, and then sleeps. */
static int wait_for_more(struct machine *m)
{
	uint64_t began, took;
	bool found = false;
	int r;

	if (!look_is_worth(&m->look))
		return sleep_until_something(m);
	began = sock_now_ns();
	do {
		sched_yield();
		r = serve(m, &found);
		took = sock_now_ns() - began;
	} while (r == 0 && !found && took < LOOK_NS);
	look_ended(&m->look, found, took);
	return r != 0 || found ? r : sleep_until_something(m);
}

/* ---- what devices do on their own account ---- */

static void stop_vm(struct machine *m)
{
	static const struct kvmcpu_effect stop = {
	    .kind = KVMCPU_EFFECT_STOP_VM,
	    .stop = {.code = 0, .reason = "stopped from the console"},
	};

	if (m->control == NULL)
		log_warn("there is no control connection to stop the VM by; Ctrl-A d detaches");
	else if (kvmcpu_control_effect(m->control, &stop) < 0)
		log_warn("the VM cannot be stopped: %s", kvmcpu_control_error(m->control));
}

static int grant_wish(struct machine *m)
{
	enum terminal_wish wish = m->console.stream.wish;

	m->console.stream.wish = TERMINAL_NOTHING;
	if (wish == TERMINAL_STOP)
		stop_vm(m);
	return wish == TERMINAL_DETACH ? LOOP_DETACHED : 0;
}

/* A daemon that has gone says so on the device channel. One that only took too
 * long is asked again, by another connection: nobody else would tell. */
static void tell_lines(struct machine *m)
{
	int r = pc_tell_lines(&m->pc, m->control, false);

	if (r == 0 || m->control == NULL)
		return;
	if (r != -ECONNRESET) {
		log_warn("an interrupt line was not set: %s", kvmcpu_control_error(m->control));
		machine_connect_control(m);
		pc_tell_lines(&m->pc, m->control, false);
	}
}

static int attend(struct machine *m)
{
	int r = 0;

	if (sock_now_ns() - m->polled_ns > POLL_EVERY_NS)
		r = poll_all(m, 0);
	if (r == 0)
		r = console_pump(&m->console);
	if (r < 0) {
		m->pc.error = r;
		return r;
	}
	if (cmos_timer(&m->cmos) || r > 0)
		m->pc.unsaved = true;
	if (m->pc.unsaved) {
		pc_save(&m->pc);
		tell_lines(m);
	}
	return grant_wish(m);
}

int loop_run(struct machine *m)
{
	int r;

	m->look = (struct look){0};
	do {
		r = attend(m);
		if (r == 0)
			r = wait_for_more(m);
	} while (r == 0);
	return r;
}
