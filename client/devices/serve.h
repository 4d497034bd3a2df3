/* SPDX-License-Identifier: MIT
 *
 * kvmcpu-pc's one loop.
 */
#ifndef KVMCPU_SERVE_H
#define KVMCPU_SERVE_H

#include "machine.h"

#define SERVE_DETACHED 100 /* the user wants this process to end, not the VM */

/* Serves exits, input, output that waited, and timers. KVMCPU_END, KVMCPU_RESET,
 * SERVE_DETACHED, or what kvmcpu_device_dispatch() says. */
int serve_run(struct machine *m);

#endif
