/* SPDX-License-Identifier: MIT
 *
 * The ready devices. Each has its state here and its registers in the file of
 * its name; _device() describes it for pc_add(). State is the caller's and must
 * outlive the device.
 */
#ifndef KVMCPU_DEVICES_H
#define KVMCPU_DEVICES_H

#include "pc.h"

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

/* RTC and battery-backed memory, ports 0x70 and 0x71. */
struct cmos {
	uint8_t index;
	uint8_t ram[128];
};
/* Registers that tell the guest of memory_bytes of RAM. */
void cmos_init(struct cmos *d, uint64_t memory_bytes);
struct pc_device cmos_device(struct cmos *d);

/* The keyboard controller with no keyboard, ports 0x60 and 0x64. */
struct i8042 {
	uint8_t command;
};
struct pc_device i8042_device(struct i8042 *d);

/* System control port A, 0x92. */
struct pc_device port92_device(void);

/* A 16550A without an interrupt line, ports 0x3f8 to 0x3ff. */
#define UART_FIFO 16
struct uart {
	struct sink *sink; /* output, and input where it is a pty */
	uint16_t divisor;
	uint8_t ier, fcr, lcr, mcr, msr_delta, lsr_errors, scratch;
	bool thre_pending;
	uint8_t fifo[UART_FIFO];
	unsigned head, used;
};
struct pc_device uart_device(struct uart *d);

#endif
