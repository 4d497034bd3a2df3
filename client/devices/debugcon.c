/* SPDX-License-Identifier: MIT
 *
 * The debug console of virtual machines' firmware: what is written comes out,
 * and reading 0xe9 tells the firmware that somebody listens (SeaBIOS, port
 * 0x402; Bochs, port 0xe9).
 */
#include "config.h"

#include "devices.h"

static uint32_t debugcon_read(void *state, uint16_t port)
{
	return 0xe9;
}

static enum pc_outcome debugcon_write(void *state, uint16_t port, uint32_t value)
{
	struct debugcon *d = state;

	if (d->sink != NULL)
		sink_put(d->sink, (uint8_t)value);
	return PC_GO_ON;
}

static int debugcon_finish(void *state)
{
	struct debugcon *d = state;

	return d->sink != NULL ? sink_flush(d->sink) : 0;
}

struct pc_device debugcon_device(struct debugcon *d)
{
	return (struct pc_device){
	    .name = "debugcon",
	    .ports = {{0x402, 0x402}, {0xe9, 0xe9}},
	    .sizes = PC_BYTES,
	    .state = d,
	    .read = debugcon_read,
	    .write = debugcon_write,
	    .finish = debugcon_finish,
	};
}
