/* SPDX-License-Identifier: MIT
 *
 * kvmcpu-pc: connects one device channel and serves a PC's small devices on it
 * until the VM ends. One table names the options.
 */
#include "config.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "devices.h"
#include "log.h"

struct settings {
	const char *vm, *runtime_dir, *debugcon, *serial;
	bool post;
	int ready_fd;
	enum log_level log;
};

struct machine {
	struct pc pc;
	struct sink console, serial;
	struct debugcon debugcon;
	struct post post;
	struct cmos cmos;
	struct i8042 i8042;
	struct uart uart;
};

static const struct option options[] = {
    {"vm", required_argument, NULL, 'v'},	{"runtime-dir", required_argument, NULL, 'r'},
    {"debugcon", required_argument, NULL, 'd'}, {"serial", required_argument, NULL, 's'},
    {"post", no_argument, NULL, 'p'},		{"ready-fd", required_argument, NULL, 'R'},
    {"log", required_argument, NULL, 'l'},	{"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},	{NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: kvmcpu-pc [options]\n"
    "Serves a PC's small devices to a kvmcpud VM until it ends: debug console, POST port,\n"
    "CMOS and RTC, keyboard controller, port 0x92 and a 16550.\n"
    "\n"
    "  --vm NAME             the VM (default: " KVMCPU_DEFAULT_VM ")\n"
    "  --runtime-dir DIR     where VMs have their sockets\n"
    "                        (default: ${XDG_RUNTIME_DIR:-/run}/kvmcpud)\n"
    "  --debugcon FILE|-|none  ports 0x402 and 0xe9 (default: -, standard output)\n"
    "  --serial FILE|-|pty|none  ports 0x3f8 to 0x3ff (default: none)\n"
    "  --post                print the codes written to port 0x80\n"
    "  --ready-fd N          write a newline to descriptor N and close it when serving\n"
    "  --log LEVEL           error, warn, info or debug (default: info)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 the VM has ended, 64 usage, 65 the daemon refused, 69 no daemon runs,\n"
    "70 out of memory, 74 input or output failed, 76 cut off by the daemon.\n";

static int usage_error(const char *what, const char *value, const char *next)
{
	fprintf(stderr, "kvmcpu-pc: %s '%s': %s\n", what, value, next);
	return EX_USAGE;
}

static int take_ready_fd(struct settings *s, const char *value)
{
	char *end;
	long n = strtol(value, &end, 10);

	if (*value == '\0' || *end != '\0' || n < 0 || n > 1 << 20)
		return usage_error("--ready-fd", value, "give the number of an open descriptor");
	s->ready_fd = (int)n;
	return 0;
}

static int take_option(struct settings *s, int option, const char *value)
{
	switch (option) {
	case 'v':
		s->vm = value;
		return 0;
	case 'r':
		s->runtime_dir = value;
		return 0;
	case 'd':
		s->debugcon = value;
		return 0;
	case 's':
		s->serial = value;
		return 0;
	case 'p':
		s->post = true;
		return 0;
	case 'R':
		return take_ready_fd(s, value);
	case 'l':
		if (log_level_by_name(value, &s->log))
			return 0;
		return usage_error("--log", value, "give error, warn, info or debug");
	default:
		fprintf(stderr, "kvmcpu-pc --help lists the options\n");
		return EX_USAGE;
	}
}

/* -1 to go on, else the exit status. */
static int take_options(struct settings *s, int argc, char **argv)
{
	int option, status;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h' || option == 'V') {
			if (option == 'h')
				fputs(help, stdout);
			else
				printf("kvmcpu-pc %s\n", kvmcpu_version());
			return fflush(stdout) == 0 ? 0 : EX_IOERR;
		}
		status = take_option(s, option, optarg);
		if (status != 0)
			return status;
	}
	if (optind < argc)
		return usage_error("argument", argv[optind], "only options are taken, see --help");
	if (strcmp(s->debugcon, "pty") == 0)
		return usage_error("--debugcon", s->debugcon, "give a file, '-' or 'none'");
	return -1;
}

static bool wanted(const char *where)
{
	return strcmp(where, "none") != 0;
}

static int open_sink(struct sink *s, const char *option, const char *where)
{
	int r;

	if (!wanted(where))
		return 0;
	r = sink_open(s, where);
	if (r < 0)
		log_error("%s %s cannot be opened: %s; name a file that can be written, '-' or "
			  "'none'",
			  option, where, strerror(-r));
	return r;
}

/* What the guest asks CMOS is only known after the greeting: cmos_init(). */
static int build(struct machine *m, const struct settings *s)
{
	if (open_sink(&m->console, "--debugcon", s->debugcon) < 0 ||
	    open_sink(&m->serial, "--serial", s->serial) < 0)
		return -EIO;
	m->debugcon.sink = wanted(s->debugcon) ? &m->console : NULL;
	m->post.print = s->post;
	m->uart.sink = &m->serial;
	pc_add(&m->pc, debugcon_device(&m->debugcon));
	pc_add(&m->pc, post_device(&m->post));
	pc_add(&m->pc, cmos_device(&m->cmos));
	pc_add(&m->pc, i8042_device(&m->i8042));
	pc_add(&m->pc, port92_device());
	if (wanted(s->serial))
		pc_add(&m->pc, uart_device(&m->uart));
	return 0;
}

static int connect_device(struct machine *m, const struct settings *s, struct kvmcpu_device **ret)
{
	struct kvmcpu_claim claims[2 * PC_MAX_DEVICES];
	struct kvmcpu_device_options o = {
	    .peer = {.vm = s->vm, .runtime_dir = s->runtime_dir, .client = "kvmcpu-pc"},
	    .claims = claims,
	};
	struct kvmcpu_error error;
	int r;

	o.n_claims = pc_claims(&m->pc, claims);
	r = kvmcpu_device_new(&o, ret, &error);
	if (r == 0)
		return 0;
	log_error("%s", error.text);
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

static int say_ready(int fd)
{
	if (fd < 0)
		return 0;
	if (write(fd, "\n", 1) != 1 || close(fd) < 0) {
		log_error("--ready-fd %d cannot be written: %s", fd, strerror(errno));
		return EX_IOERR;
	}
	return 0;
}

/* Why serving ended, to the log and as an exit status. */
static int conclude(const struct machine *m, const struct kvmcpu_device *device, int r)
{
	int error = m->console.error != 0 ? m->console.error : m->serial.error;

	if (error != 0) {
		log_error("output failed: %s; the access in flight waits for another device client",
			  strerror(-error));
		return EX_IOERR;
	}
	if (r < 0) {
		log_error("%s", kvmcpu_device_error(device));
		return r == -EPROTO ? EX_PROTOCOL : EX_IOERR;
	}
	log_info("%s", kvmcpu_device_error(device));
	return 0;
}

static int serve(struct machine *m, const struct settings *s)
{
	struct kvmcpu_device *device;
	int r, status = connect_device(m, s, &device);

	if (status != 0)
		return status;
	cmos_init(&m->cmos, kvmcpu_device_hello(device)->vm.memory_bytes);
	status = say_ready(s->ready_fd);
	if (status == 0) {
		do
			r = kvmcpu_device_run(device, pc_serve, &m->pc);
		while (r == -EINTR);
		status = conclude(m, device, r);
	}
	kvmcpu_device_free(device);
	return status;
}

int main(int argc, char **argv)
{
	struct settings s = {
	    .debugcon = "-", .serial = "none", .ready_fd = -1, .log = LOG_LEVEL_INFO};
	static struct machine m = {
	    .console = {.fd = -1, .slave_fd = -1},
	    .serial = {.fd = -1, .slave_fd = -1},
	};
	int status = take_options(&s, argc, argv);

	if (status >= 0)
		return status;
	log_setup("kvmcpu-pc", s.vm, s.log);
	/* A reader that goes away is an error of write(2), not a death. */
	signal(SIGPIPE, SIG_IGN);
	status = build(&m, &s) == 0 ? serve(&m, &s) : EX_IOERR;
	sink_close(&m.console);
	sink_close(&m.serial);
	return status;
}
