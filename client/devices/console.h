/* SPDX-License-Identifier: MIT
 *
 * The serial port as a whole: a 16550A between the guest and a stream.
 */
#ifndef KVMCPU_CONSOLE_H
#define KVMCPU_CONSOLE_H

#include "pc.h"
#include "stream.h"
#include "uart.h"

struct console {
	struct uart uart;
	struct stream stream;
	int end_fd; /* borrowed: the device channel, on which nothing comes during an exit
		     * unless the VM ends; -1 for none */
};

/* Ports 0x3f8 to 0x3ff, GSI 4. */
struct pc_device console_device(struct console *c);

/* Moves what can be moved without waiting, both ways, outside of an exit. Whether
 * the port's state has changed, or -errno. */
int console_pump(struct console *c);

/* What it waits for, at most STREAM_POLLS; returns how many. */
size_t console_poll(const struct console *c, struct pollfd *ret);
void console_polled(struct console *c, const struct pollfd *p, size_t n);

#endif
