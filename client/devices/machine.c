/* SPDX-License-Identifier: MIT
 *
 * The machine's life: what it opens, how it connects, and how it starts again as
 * a new one when the guest was reset. What the outside holds (the serial port's
 * stream, the files) stays open over that; registers do not.
 */
#include "config.h"

#include "machine.h"

#include <errno.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "log.h"
#include "serve.h"

#define MACHINE_ENDED (-1) /* beside the exit statuses: nothing is wrong */

static bool wanted(const char *where)
{
	return strcmp(where, "none") != 0;
}

static int open_sink(struct sink *s, const char *where)
{
	int r;

	if (!wanted(where))
		return 0;
	r = sink_open(s, where);
	if (r < 0)
		log_error("--debugcon %s cannot be opened: %s; name a file that can be written, "
			  "'-' or 'none'",
			  where, strerror(-r));
	return r;
}

int machine_open(struct machine *m, const struct machine_settings *s)
{
	memset(m, 0, sizeof(*m));
	m->settings = s;
	m->sink.fd = -1;
	m->state.fd = -1;
	m->console.stream = (struct stream){.in = -1, .out = -1, .watch = -1};
	if (open_sink(&m->sink, s->debugcon) < 0 || state_open(&m->state, s->state) < 0 ||
	    stream_open(&m->console.stream, s->serial) < 0)
		return EX_IOERR;
	m->debugcon.sink = wanted(s->debugcon) ? &m->sink : NULL;
	m->post.print = s->post;
	m->pc.state = &m->state;
	pc_add(&m->pc, debugcon_device(&m->debugcon));
	pc_add(&m->pc, post_device(&m->post));
	pc_add(&m->pc, cmos_device(&m->cmos));
	pc_add(&m->pc, i8042_device(&m->i8042));
	pc_add(&m->pc, port92_device());
	pc_add(&m->pc, power_device(&m->power));
	if (wanted(s->serial))
		pc_add(&m->pc, console_device(&m->console));
	return 0;
}

static void disconnect(struct machine *m)
{
	kvmcpu_device_free(m->device);
	kvmcpu_control_free(m->control);
	m->device = NULL;
	m->control = NULL;
}

void machine_close(struct machine *m)
{
	disconnect(m);
	sink_close(&m->sink);
	stream_close(&m->console.stream);
	state_close(&m->state);
}

/* ---- connecting ---- */

static int status_of(int r)
{
	switch (r) {
	case -ENOENT:
	case -ECONNREFUSED:
		return EX_UNAVAILABLE;
	case -EINVAL:
		return EX_USAGE;
	case -ENOMEM:
		return EX_SOFTWARE;
	case -EPROTONOSUPPORT:
	case -EADDRINUSE:
	case -EUSERS:
	case -EPROTO:
	case -EPERM:
	case -EACCES:
		return EX_DATAERR;
	default:
		return EX_IOERR;
	}
}

static struct kvmcpu_peer peer(const struct machine *m)
{
	return (struct kvmcpu_peer){
	    .vm = m->settings->vm,
	    .runtime_dir = m->settings->runtime_dir,
	    .client = "kvmcpu-pc",
	};
}

/* first: this process has not served before. Later on a daemon that is not there
 * has ended in the middle of a reset. */
static int connect_device(struct machine *m, bool first)
{
	struct kvmcpu_claim claims[2 * PC_MAX_DEVICES];
	struct kvmcpu_device_options o = {.peer = peer(m), .claims = claims};
	struct kvmcpu_error error;
	int r;

	o.n_claims = pc_claims(&m->pc, claims);
	r = kvmcpu_device_new(&o, &m->device, &error);
	if (r == 0) {
		m->console.end_fd = kvmcpu_device_fd(m->device);
		return 0;
	}
	if (!first && (r == -ENOENT || r == -ECONNREFUSED || r == -ECONNRESET)) {
		log_info("the VM has ended");
		return MACHINE_ENDED;
	}
	log_error("%s", error.text);
	return status_of(r);
}

/* Who may open device.sock alone can still serve a guest that polls. */
void machine_connect_control(struct machine *m)
{
	struct kvmcpu_control_options o = {.peer = peer(m)};
	struct kvmcpu_error error;

	kvmcpu_control_free(m->control);
	m->control = NULL;
	if (kvmcpu_control_new(&o, &m->control, &error) < 0)
		log_warn("input and timers raise no interrupt, and the VM cannot be stopped from "
			 "here: %s",
			 error.text);
}

static void reset_registers(struct machine *m, uint64_t memory_bytes)
{
	uart_init(&m->console.uart);
	cmos_init(&m->cmos, memory_bytes);
	m->i8042 = (struct i8042){0};
	m->power = (struct power){0};
	m->post.code = 0;
}

/* first: the output is still to begin. */
static int take_up(struct machine *m, bool first)
{
	const struct kvmcpu_vm_info *vm = &kvmcpu_device_hello(m->device)->vm;
	bool resumed = state_resume(&m->state, vm->instance);
	int r = 0;

	reset_registers(m, vm->memory_bytes);
	if (resumed)
		pc_load(&m->pc);
	if (first)
		r = stream_begin(&m->console.stream, resumed);
	if (r < 0) {
		log_error("--serial %s: %s", m->settings->serial, strerror(-r));
		return EX_IOERR;
	}
	m->pc.has_lines = vm->irqchip == KVMCPU_IRQCHIP_KERNEL;
	/* Whoever served before may have left one high. */
	pc_tell_lines(&m->pc, m->control, true);
	return 0;
}

static int connect_all(struct machine *m, bool first)
{
	int status = connect_device(m, first);

	if (status != 0)
		return status;
	machine_connect_control(m);
	return take_up(m, first);
}

/* ---- serving ---- */

static int say_ready(const struct machine *m)
{
	int fd = m->settings->ready_fd;

	if (fd < 0)
		return 0;
	if (write(fd, "\n", 1) != 1 || close(fd) < 0) {
		log_error("--ready-fd %d cannot be written: %s", fd, strerror(errno));
		return EX_IOERR;
	}
	return 0;
}

/* A VM that was started paused waits for its devices: here they are. */
static int let_run(const struct machine *m)
{
	const struct kvmcpu_status *status;

	if (!m->settings->resume)
		return 0;
	if (m->control == NULL) { /* machine_connect_control has said why */
		log_error("--resume needs the VM's control socket");
		return EX_UNAVAILABLE;
	}
	if (kvmcpu_control_resume(m->control, 0, &status) == 0)
		return 0;
	log_error("--resume: %s", kvmcpu_control_error(m->control));
	return EX_IOERR;
}

/* Why serving ended, to the log and as an exit status. */
static int conclude(const struct machine *m, int r)
{
	if (r == SERVE_DETACHED) {
		log_info("detached; the VM waits for another device client");
		return 0;
	}
	if (m->pc.error != 0) {
		log_error("output failed: %s; the access in flight waits for another device client",
			  strerror(-m->pc.error));
		return EX_IOERR;
	}
	if (r < 0) {
		log_error("%s", kvmcpu_device_error(m->device));
		return r == -EPROTO ? EX_PROTOCOL : EX_IOERR;
	}
	log_info("%s", kvmcpu_device_error(m->device));
	return 0;
}

int machine_run(struct machine *m)
{
	int r, status = connect_all(m, true);

	if (status == 0)
		status = say_ready(m);
	if (status == 0)
		status = let_run(m);
	while (status == 0) {
		r = serve_run(m);
		if (r != KVMCPU_RESET)
			return conclude(m, r);
		log_info("%s", kvmcpu_device_error(m->device));
		disconnect(m);
		status = connect_all(m, false);
	}
	return status == MACHINE_ENDED ? 0 : status;
}
