/* SPDX-License-Identifier: MIT
 *
 * All devices together, with what they hang on: a device channel, a control
 * connection, the serial port's stream, the clock's timer, the state file.
 */
#ifndef KVMCPU_MACHINE_H
#define KVMCPU_MACHINE_H

#include "console.h"
#include "devices.h"
#include "look.h"

struct machine_settings {
	const char *vm, *runtime_dir, *debugcon, *serial, *state;
	bool post;
	bool resume;  /* let the VM run once all is connected */
	int ready_fd; /* -1 for none */
};

struct machine {
	const struct machine_settings *settings; /* borrowed */
	struct pc pc;
	struct state state;
	struct sink sink;
	struct console console;
	struct debugcon debugcon;
	struct post post;
	struct cmos cmos;
	struct i8042 i8042;
	struct power power;
	struct kvmcpu_device *device;	/* owned */
	struct kvmcpu_control *control; /* owned; NULL: nothing can be told but by replies */
	struct look look;
	uint64_t polled_ns; /* when all descriptors were looked at last */
};

/* Opens what the settings name. 0 or an exit status; says why. */
int machine_open(struct machine *m, const struct machine_settings *settings);
/* Connects and serves until the VM ends, again after each reset. An exit status;
 * says why. */
int machine_run(struct machine *m);
void machine_close(struct machine *m);

/* Makes the control connection anew; waits for the daemon's greeting. Without one
 * control is NULL, and a warning says so. */
void machine_connect_control(struct machine *m);

#endif
