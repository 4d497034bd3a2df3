/* SPDX-License-Identifier: MIT
 *
 * kvmcpu-pc's one loop.
 */
#ifndef KVMCPU_LOOP_H
#define KVMCPU_LOOP_H

#include "machine.h"

#define LOOP_DETACHED 100 /* the user wants this process to end, not the VM */

/* Serves exits, input, output that waited, and timers. KVMCPU_END, KVMCPU_RESET,
 * LOOP_DETACHED, or what kvmcpu_device_dispatch() says. */
int loop_run(struct machine *m);

#endif
