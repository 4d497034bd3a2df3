/* SPDX-License-Identifier: MIT
 *
 * System control port A: the A20 gate, which is always open here, and fast
 * reset.
 */
#include "config.h"

#include "devices.h"

#define FAST_RESET 0x01
#define A20_OPEN 0x02

static uint32_t port92_read(void *state, uint16_t port)
{
	return A20_OPEN;
}

static enum pc_outcome port92_write(void *state, uint16_t port, uint32_t value)
{
	return value & FAST_RESET ? PC_RESET : PC_GO_ON;
}

struct pc_device port92_device(void)
{
	return (struct pc_device){
	    .name = "port92",
	    .ports = {{0x92, 0x92}},
	    .sizes = PC_BYTES,
	    .read = port92_read,
	    .write = port92_write,
	};
}
