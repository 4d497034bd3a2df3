/* SPDX-License-Identifier: MIT
 *
 * What a device of kvmcpu-pc is, and the one place that turns exits into its
 * reads and writes. One thread serves all devices.
 */
#ifndef KVMCPU_PC_H
#define KVMCPU_PC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <kvmcpu/kvmcpu.h>

#include "state.h"

enum pc_outcome { PC_GO_ON, PC_RESET, PC_POWER_OFF };

/* Element sizes that a device's registers have. Others read as ones and their
 * writes are dropped, unless the device's registers are bytes side by side: then
 * they are that many bytes, the lowest port first. */
#define PC_BYTES (1u << 1)

struct pc_ports {
	uint16_t first, last;
};

/* What of a device is kept over the death of this process: always as many bytes. */
struct pc_section {
	const char *name; /* NULL: nothing */
	size_t size;
	void (*save)(const void *state, uint8_t *ret);
	void (*load)(void *state, const uint8_t *saved);
};

#define PC_MAX_SECTIONS 3

struct pc_device {
	const char *name;
	struct pc_ports ports[2]; /* of a second one that is not there, last is 0 */
	uint32_t sizes;		  /* bit n: elements of n bytes */
	bool side_by_side;
	void *state; /* borrowed; passed to all of these */
	uint32_t (*read)(void *state, uint16_t port);
	enum pc_outcome (*write)(void *state, uint16_t port, uint32_t value);
	/* Does what is left to do behind each exit of the device; NULL: nothing.
	 * 0 or -errno, which ends the serving. */
	int (*finish)(void *state);
	/* The level of its interrupt line, which is gsi; NULL: it has none. */
	bool (*line)(const void *state);
	uint32_t gsi;
	bool level; /* what the daemon has been told of the line; pc.c's */
	struct pc_section sections[PC_MAX_SECTIONS];
};

#define PC_MAX_DEVICES 8

struct pc {
	struct pc_device devices[PC_MAX_DEVICES];
	size_t n_devices;
	struct state *state; /* borrowed */
	bool has_lines;	     /* there is an interrupt controller to raise them at */
	bool unsaved;	     /* a device changed on its own account */
	uint64_t served;     /* exits */
	int error;	     /* of a device's finish, -errno */
	struct kvmcpu_effect effects[2];
};

void pc_add(struct pc *pc, struct pc_device device);

/* The claims of all devices, into room for 2 * PC_MAX_DEVICES. Returns their
 * number; names are borrowed from the devices. */
size_t pc_claims(const struct pc *pc, struct kvmcpu_claim *ret);

/* A kvmcpu_device_handler; arg is a struct pc. Negative: -errno of a device. */
int pc_serve(void *arg, const struct kvmcpu_exit *exit, uint8_t *data, struct kvmcpu_reply *reply);

/* Takes the devices' registers from the state, which was resumed. */
void pc_load(struct pc *pc);
/* Saves what devices changed outside an exit: where unsaved says so. */
void pc_save(struct pc *pc);

/* Tells the daemon of lines that changed outside an exit; of all, where anew. 0, or
 * the first error of kvmcpu_control_effect(), -ENOTCONN where control is NULL; the
 * device's next reply tells then. */
int pc_tell_lines(struct pc *pc, struct kvmcpu_control *control, bool anew);

#endif
