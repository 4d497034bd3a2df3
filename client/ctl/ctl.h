/* SPDX-License-Identifier: MIT
 *
 * What kvmcpuctl's commands share: the table of commands, the connection they
 * run on, and how each ends.
 */
#ifndef KVMCPUCTL_CTL_H
#define KVMCPUCTL_CTL_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

#include <kvmcpu/kvmcpu.h>

/* kvmcpuctl(1) lists them; numbers are those of sysexits(3). */
enum ctl_status {
	CTL_OK = 0,
	CTL_USAGE = 64,
	CTL_REFUSED = 65,   /* the daemon said no */
	CTL_NO_DAEMON = 69, /* nobody listens there */
	CTL_INTERNAL = 70,  /* memory, or a bug */
	CTL_IO = 74,	    /* output, a file, or the connection broke */
	CTL_TIMEOUT = 75,   /* not in time; may be tried again */
	CTL_PROTOCOL = 76,  /* what answers makes no sense here */
	CTL_PERMISSION = 77,
};

struct ctl {
	struct kvmcpu_peer peer;
	bool json;
	struct kvmcpu_control *control; /* owned by main; NULL with own_connection */
};

struct command {
	const char *name;
	const char *arguments;	    /* for the usage line */
	const char *summary;	    /* one line of --help */
	const char *details;	    /* its options, one per line; "" for none */
	const char *shorts;	    /* as for getopt(3), "" for none */
	const struct option *longs; /* ended by a NULL name; NULL for none */
	/* An option of its own: 0 or an exit status. */
	int (*option)(int option, const char *value);
	bool own_connection; /* ctl->control stays NULL */
	int min_arguments, max_arguments;
	int (*run)(struct ctl *ctl, int argc, char **argv);
};

extern const struct command status_command, pause_command, resume_command, stop_command,
    stats_command, monitor_command, dump_command, clients_command, memory_command, schema_command,
    ping_command, run_command, step_command;

/* One line on standard error, "kvmcpuctl: " in front; returns status. */
int ctl_error(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The exit status that a library call's errno stands for. */
int ctl_status_of(int r);

/* A control call has failed with r: says why; with --json the refusal goes to
 * standard output as well. Returns the exit status. */
int ctl_failed(const struct ctl *ctl, int r);

/* Runs vCPUs, and shows each one's run by print_run, or all as JSON. Returns the exit
 * status. */
int ctl_run(struct ctl *ctl, const struct kvmcpu_run_options *options,
	    void (*print_run)(const struct kvmcpu_vcpu_run *run));

/* The last response as one JSON object on a line. Returns the exit status. */
int ctl_json(const struct ctl *ctl);

/* Prints ", did you mean ..." names near to word, up to three of the n. */
void ctl_suggest(const char *word, const char *const *names, size_t n, char *buf, size_t size);

/* Values of options and arguments, complaining about what they are not: 0 or
 * CTL_USAGE. Numbers are decimal or 0x; a size may end in K, M or G. */
int parse_number(const char *what, const char *text, uint64_t max, uint64_t *ret);
int parse_size(const char *what, const char *text, uint64_t max, uint64_t *ret);
/* "0,2,5-7" joins *ret, bit n for vCPU n. */
int parse_vcpus(const char *text, uint64_t *ret);

#endif
