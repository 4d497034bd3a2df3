/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl: finds the command in the table, takes the options that every
 * command has and its own, connects, and lets it run. Options may stand before
 * and behind the command's arguments.
 */
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl.h"

static const struct command *const commands[] = {
    &status_command,  &pause_command, &resume_command,	&stop_command,	 &stats_command,
    &monitor_command, &dump_command,  &clients_command, &memory_command, &schema_command,
    &ping_command,    &run_command,   &step_command,
};
#define N_COMMANDS (sizeof(commands) / sizeof(commands[0]))

enum { OPTION_VM = 256, OPTION_RUNTIME_DIR, OPTION_JSON, OPTION_HELP, OPTION_VERSION };

static const struct option common_options[] = {
    {"vm", required_argument, NULL, OPTION_VM},
    {"runtime-dir", required_argument, NULL, OPTION_RUNTIME_DIR},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};
#define N_COMMON (sizeof(common_options) / sizeof(common_options[0]))
#define MAX_OWN_OPTIONS 16

static const char common_help[] =
    "Options of every command:\n"
    "  --vm NAME          the VM (default: " KVMCPU_DEFAULT_VM ")\n"
    "  --runtime-dir DIR  where VMs have their sockets\n"
    "                     (default: ${XDG_RUNTIME_DIR:-/run}/kvmcpud)\n"
    "  --json             print the daemon's answer as one JSON object\n"
    "  --help, --version\n";

static const char status_help[] =
    "Exit status: 0 done, 64 usage, 65 the daemon refused, 69 no daemon runs, 70 out of\n"
    "memory, 74 input or output failed, 75 not in time, 76 what answers is no kvmcpud or of\n"
    "another version, 77 not permitted.\n";

static void print_help(const struct command *command)
{
	size_t i;

	if (command != NULL) {
		printf("Usage: kvmcpuctl %s%s%s [options]\n%s.\n\n%s%s", command->name,
		       command->arguments[0] ? " " : "", command->arguments, command->summary,
		       command->details, command->details[0] ? "\n" : "");
		fputs(common_help, stdout);
		return;
	}
	printf("Usage: kvmcpuctl COMMAND [arguments] [options]\n"
	       "Runs, stops and inspects a VM of kvmcpud.\n\n");
	for (i = 0; i < N_COMMANDS; i++)
		printf("  %-8s %s\n", commands[i]->name, commands[i]->summary);
	printf("\n%s\nkvmcpuctl COMMAND --help lists a command's own options.\n%s", common_help,
	       status_help);
}

/* -1 to go on, else the exit status. */
static int take_common(struct ctl *ctl, const struct command *command, int option,
		       const char *value)
{
	switch (option) {
	case OPTION_VM:
		ctl->peer.vm = value;
		return -1;
	case OPTION_RUNTIME_DIR:
		ctl->peer.runtime_dir = value;
		return -1;
	case OPTION_JSON:
		ctl->json = true;
		return -1;
	case OPTION_HELP:
		print_help(command);
		return CTL_OK;
	case OPTION_VERSION:
		printf("kvmcpuctl %s\n", kvmcpu_version());
		return CTL_OK;
	default:
		return ctl_error(CTL_USAGE, "kvmcpuctl %s--help lists the options",
				 command != NULL ? "COMMAND " : "");
	}
}

/* Takes a command's options wherever they stand; optind is then at the first of
 * its arguments. -1 to go on, else the exit status. */
static int take_options(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
	struct option all[N_COMMON + MAX_OWN_OPTIONS];
	size_t n = 0;
	int option, status;

	if (command != NULL && command->longs != NULL)
		for (; command->longs[n].name != NULL && n < MAX_OWN_OPTIONS; n++)
			all[n] = command->longs[n];
	memcpy(all + n, common_options, sizeof(common_options));
	optind = 0; /* glibc: start afresh */
	while ((option = getopt_long(argc, argv, command != NULL ? command->shorts : "+", all,
				     NULL)) != -1) {
		if (option < OPTION_VM && option != '?') {
			status = command->option(option, optarg);
			status = status == 0 ? -1 : status;
		} else {
			status = take_common(ctl, command, option, optarg);
		}
		if (status >= 0)
			return status;
	}
	return -1;
}

static const struct command *find(const char *name)
{
	const char *names[N_COMMANDS];
	char near[128];
	size_t i;

	for (i = 0; i < N_COMMANDS; i++) {
		names[i] = commands[i]->name;
		if (strcmp(name, names[i]) == 0)
			return commands[i];
	}
	ctl_suggest(name, names, N_COMMANDS, near, sizeof(near));
	ctl_error(CTL_USAGE, "'%s' is no command%s; kvmcpuctl --help lists them", name, near);
	return NULL;
}

static int run(struct ctl *ctl, const struct command *command, int argc, char **argv)
{
	struct kvmcpu_control_options o = {.peer = ctl->peer};
	struct kvmcpu_error error;
	int r, status;

	if (argc < command->min_arguments || argc > command->max_arguments)
		return ctl_error(CTL_USAGE, "%s takes %s: kvmcpuctl %s%s%s", command->name,
				 command->max_arguments == 0	 ? "no arguments"
				 : argc < command->min_arguments ? "more arguments"
								 : "fewer arguments",
				 command->name, command->arguments[0] ? " " : "",
				 command->arguments);
	if (command->own_connection)
		return command->run(ctl, argc, argv);
	r = kvmcpu_control_new(&o, &ctl->control, &error);
	if (r < 0)
		return ctl_error(r == -EINVAL ? CTL_USAGE : ctl_status_of(r), "%s", error.text);
	status = command->run(ctl, argc, argv);
	kvmcpu_control_free(ctl->control);
	return status;
}

static int find_and_run(struct ctl *ctl, int argc, char **argv)
{
	const struct command *command;
	int status = take_options(ctl, NULL, argc, argv);

	if (status >= 0)
		return status;
	if (optind >= argc)
		return ctl_error(CTL_USAGE, "name a command; kvmcpuctl --help lists them");
	command = find(argv[optind]);
	if (command == NULL)
		return CTL_USAGE;
	argc -= optind;
	argv += optind;
	argv[0] = (char *)"kvmcpuctl"; /* for getopt's complaints */
	status = take_options(ctl, command, argc, argv);
	if (status >= 0)
		return status;
	return run(ctl, command, argc - optind, argv + optind);
}

int main(int argc, char **argv)
{
	struct ctl ctl = {.peer = {.client = "kvmcpuctl"}};
	int status;

	/* A reader that goes away is an error of the last flush, not a death. */
	signal(SIGPIPE, SIG_IGN);
	status = find_and_run(&ctl, argc, argv);
	if ((fflush(stdout) != 0 || ferror(stdout)) && status == CTL_OK)
		status = errno == EPIPE ? CTL_IO
					: ctl_error(CTL_IO, "standard output: %s", strerror(errno));
	return status;
}
