/* SPDX-License-Identifier: MIT
 *
 * A keyboard controller with nothing plugged in: its status says that no byte
 * waits and that commands are taken. What is left of it on a PC without a
 * keyboard is the reset line, which software pulls in two ways.
 */
#include "config.h"

#include "devices.h"

#define DATA 0x60
#define WRITE_OUTPUT_PORT 0xd1 /* the next byte at 0x60; its bit 0 low is reset */
#define PULSE_RESET 0xfe

static uint32_t i8042_read(void *state, uint16_t port)
{
	return 0;
}

static enum pc_outcome i8042_write(void *state, uint16_t port, uint32_t value)
{
	struct i8042 *d = state;
	uint8_t command = d->command;

	if (port == DATA) {
		d->command = 0;
		return command == WRITE_OUTPUT_PORT && !(value & 1) ? PC_RESET : PC_GO_ON;
	}
	d->command = (uint8_t)value;
	return value == PULSE_RESET ? PC_RESET : PC_GO_ON;
}

static void i8042_save(const void *state, uint8_t *ret)
{
	*ret = ((const struct i8042 *)state)->command;
}

static void i8042_load(void *state, const uint8_t *saved)
{
	((struct i8042 *)state)->command = *saved;
}

struct pc_device i8042_device(struct i8042 *d)
{
	return (struct pc_device){
	    .name = "i8042",
	    .ports = {{DATA, DATA}, {0x64, 0x64}},
	    .sizes = PC_BYTES,
	    .state = d,
	    .read = i8042_read,
	    .write = i8042_write,
	    .sections = {{"i8042", 1, i8042_save, i8042_load}},
	};
}
