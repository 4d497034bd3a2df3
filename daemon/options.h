/* SPDX-License-Identifier: MIT
 *
 * What the daemon is told: the command line, and an INI file with the same
 * names. Constant once read.
 */
#ifndef KVMCPUD_OPTIONS_H
#define KVMCPUD_OPTIONS_H

#include <stdbool.h>

#include "clock.h"
#include "log.h"
#include "types.h"

#define OPTIONS_MAX_IMAGES 32 /* picked, not tuned */

/* Between the second DMA controller (to 0xdf) and the coprocessor (from 0xf0), and clear
 * of the debug console (0xe9) and of the port that delays (0xed). */
#define OPTIONS_HYPERCALL_PORT 0xe4

enum boot_mode { BOOT_RESET, BOOT_REAL, BOOT_PROTECTED, BOOT_LONG };

struct image {
	const char *file;
	kvmcpu_gpa_t gpa;
};

/* How a guest makes a hypercall: a write of this kind to this address; HYPERCALL,
 * the processor's own instruction; 0, none. */
struct hypercall_way {
	enum kvmcpu_exit_kind kind;
	uint64_t address;
};

struct options {
	const char *name;	 /* "default" unless said */
	const char *runtime_dir; /* NULL: ${XDG_RUNTIME_DIR:-/run}/kvmcpud */
	uint64_t memory_bytes;	 /* 128 MiB unless said */
	uint32_t cpus;		 /* 1 to KVMCPU_MAX_VCPUS */
	bool has_irqchip;
	enum kvmcpu_irqchip irqchip; /* none unless said; with a kernel, kernel */
	const char *firmware;	     /* NULL for none */
	const char *kernel;	     /* NULL for none, as the next two, which need it */
	const char *initrd;
	const char *append;
	struct image images[OPTIONS_MAX_IMAGES];
	unsigned n_images;
	bool has_entry;
	kvmcpu_gpa_t entry;
	enum boot_mode mode;
	struct hypercall_way hypercall;
	bool paused;
	bool strict;
	bool exit_on_failure;
	enum clock_source clock;
	uint32_t factor_num, factor_den; /* 1 to CLOCK_FACTOR_MAX */
	uint64_t quantum;		 /* ticks; 0: none */
	bool realtime;			 /* what an access costs is waited for */
	bool restart;			 /* what a guest's reset does; else it ends the daemon */
	enum log_level log_level;
};

/* Reads argv, and the file that --config names, whose lines count as if they
 * stood before the command line's. The strings live until the process ends.
 * Returns -1 to go on, or the status with which to exit: after --help and
 * --version (STATUS_OK), and after a message about what is wrong
 * (STATUS_USAGE). */
int options_read(struct options *ret, int argc, char **argv);

#endif
