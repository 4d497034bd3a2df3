/* SPDX-License-Identifier: MIT
 *
 * A VM's runtime directory, and the lock in it that says that the VM runs. The
 * lock is the kernel's (flock), so a crash leaves nothing to clean up by hand.
 */
#ifndef KVMCPUD_RUNDIR_H
#define KVMCPUD_RUNDIR_H

#include "fault.h"
#include "options.h"

struct rundir {
	char path[200]; /* leaves room for a socket's name in sun_path, 108 bytes, or fails */
	int lock_fd;	/* owned; -1 if there is none */
};

/* Makes the directory and takes the lock. -1 with fault set: STATUS_BUSY if a
 * VM of this name runs, with its pid. */
int rundir_take(struct rundir *r, const struct options *o, struct fault *f);
/* Removes what is left in it, and the directory, and lets the lock go. */
void rundir_release(struct rundir *r);

#endif
