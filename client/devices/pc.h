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

#include "sink.h"

enum pc_outcome { PC_GO_ON, PC_RESET };

/* Element sizes that a device's registers have; others read as ones and their
 * writes are dropped. */
#define PC_BYTES (1u << 1)

struct pc_ports {
	uint16_t first, last;
};

struct pc_device {
	const char *name;
	struct pc_ports ports[2]; /* of a second one that is not there, last is 0 */
	uint32_t sizes;		  /* bit n: elements of n bytes */
	void *state;		  /* borrowed; passed to both */
	uint32_t (*read)(void *state, uint16_t port);
	enum pc_outcome (*write)(void *state, uint16_t port, uint32_t value);
	struct sink *sink; /* flushed behind each exit of the device; NULL for none */
};

#define PC_MAX_DEVICES 8

struct pc {
	struct pc_device devices[PC_MAX_DEVICES];
	size_t n_devices;
};

void pc_add(struct pc *pc, struct pc_device device);

/* The claims of all devices, into room for 2 * PC_MAX_DEVICES. Returns their
 * number; names are borrowed from the devices. */
size_t pc_claims(const struct pc *pc, struct kvmcpu_claim *ret);

/* A kvmcpu_device_handler; arg is a struct pc. Negative: -errno of a sink. */
int pc_serve(void *arg, const struct kvmcpu_exit *exit, uint8_t *data, struct kvmcpu_reply *reply);

#endif
