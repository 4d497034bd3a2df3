/* SPDX-License-Identifier: MIT
 *
 * kvmcpu-pc: a PC's small devices in one process. Options here, by one table; all
 * else is machine.c's.
 */
#include "config.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "log.h"
#include "machine.h"
#include "terminal.h"

struct settings {
	struct machine_settings machine;
	enum log_level log;
};

static const struct option options[] = {
    {"vm", required_argument, NULL, 'v'},	{"runtime-dir", required_argument, NULL, 'r'},
    {"debugcon", required_argument, NULL, 'd'}, {"serial", required_argument, NULL, 's'},
    {"post", no_argument, NULL, 'p'},		{"ready-fd", required_argument, NULL, 'R'},
    {"resume", no_argument, NULL, 'u'},		{"state", required_argument, NULL, 'S'},
    {"log", required_argument, NULL, 'l'},	{"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},	{NULL, 0, NULL, 0},
};

static const char help[] =
    "Usage: kvmcpu-pc [options]\n"
    "Serves a PC's small devices to a kvmcpud VM until it ends: debug console, POST port,\n"
    "CMOS and RTC, keyboard controller, port 0x92, power management and a 16550.\n"
    "\n"
    "  --vm NAME             the VM (default: " KVMCPU_DEFAULT_VM ")\n"
    "  --runtime-dir DIR     where VMs have their sockets\n"
    "                        (default: ${XDG_RUNTIME_DIR:-/run}/kvmcpud)\n"
    "  --debugcon FILE|-|none  ports 0x402 and 0xe9 (default: -, standard output)\n"
    "  --serial FILE|-|pty|unix:PATH|none  ports 0x3f8 to 0x3ff (default: none);\n"
    "                        -: standard input and output; on a terminal Ctrl-A ? lists keys\n"
    "  --state FILE          keep the devices' registers there, for the kvmcpu-pc that\n"
    "                        comes after a killed one\n"
    "  --post                print the codes written to port 0x80\n"
    "  --resume              let a VM that was started paused run once the devices serve\n"
    "  --ready-fd N          write a newline to descriptor N and close it when serving\n"
    "  --log LEVEL           error, warn, info or debug (default: info)\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 the VM has ended, or Ctrl-A d; 64 usage, 65 the daemon refused, 69 no daemon "
    "runs,\n"
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
	s->machine.ready_fd = (int)n;
	return 0;
}

static int take_option(struct settings *s, int option, const char *value)
{
	switch (option) {
	case 'v':
		s->machine.vm = value;
		return 0;
	case 'r':
		s->machine.runtime_dir = value;
		return 0;
	case 'd':
		s->machine.debugcon = value;
		return 0;
	case 's':
		s->machine.serial = value;
		return 0;
	case 'S':
		s->machine.state = value;
		return 0;
	case 'p':
		s->machine.post = true;
		return 0;
	case 'u':
		s->machine.resume = true;
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
	if (strcmp(s->machine.debugcon, "pty") == 0 ||
	    strncmp(s->machine.debugcon, "unix:", 5) == 0)
		return usage_error("--debugcon", s->machine.debugcon, "give a file, '-' or 'none'");
	return -1;
}

int main(int argc, char **argv)
{
	struct settings s = {
	    .machine = {.debugcon = "-", .serial = "none", .ready_fd = -1},
	    .log = LOG_LEVEL_INFO,
	};
	static struct machine m;
	int status = take_options(&s, argc, argv);

	if (status >= 0)
		return status;
	log_setup("kvmcpu-pc", s.machine.vm, s.log);
	/* A reader that goes away is an error of write(2), not a death. */
	signal(SIGPIPE, SIG_IGN);
	status = machine_open(&m, &s.machine);
	if (status == 0)
		status = machine_run(&m);
	terminal_restore();
	machine_close(&m);
	return status;
}
