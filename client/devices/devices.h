/* SPDX-License-Identifier: MIT
 *
 * The ready devices. Each has its state here and its registers in the file of
 * its name; _device() describes it for pc_add(). State is the caller's and must
 * outlive the device.
 */
#ifndef KVMCPU_DEVICES_H
#define KVMCPU_DEVICES_H

#include "pc.h"
#include "sink.h"

/* Firmware's debug console, ports 0x402 and 0xe9. sink NULL: output is dropped. */
struct debugcon {
	struct sink *sink;
};
struct pc_device debugcon_device(struct debugcon *d);

/* The POST code display, port 0x80. */
struct post {
	bool print;
	uint8_t code;
};
struct pc_device post_device(struct post *d);

/* RTC and battery-backed memory, ports 0x70 and 0x71, GSI 8. */
struct cmos {
	uint8_t index;
	uint8_t ram[128];
	int64_t seen_ns; /* up to when its flags tell what happened, CLOCK_REALTIME */
	int64_t due_ns;	 /* when cmos_timer() is to be called; INT64_MAX: never */
};
/* Registers that tell the guest of memory_bytes of RAM. */
void cmos_init(struct cmos *d, uint64_t memory_bytes);
/* Does what is due by now; whether something was. */
bool cmos_timer(struct cmos *d);
/* How long until something is; UINT64_MAX for never. */
uint64_t cmos_timeout_ns(const struct cmos *d);
struct pc_device cmos_device(struct cmos *d);

/* The keyboard controller with no keyboard, ports 0x60 and 0x64. */
struct i8042 {
	uint8_t command;
};
struct pc_device i8042_device(struct i8042 *d);

/* System control port A, 0x92. */
struct pc_device port92_device(void);

/* Power management, ports 0x600 to 0x605, and reset control, 0xcf9. */
struct power {
	uint8_t registers[6]; /* PM1a status, enable and control, 16 bits each */
};
struct pc_device power_device(struct power *d);

#endif
