/* SPDX-License-Identifier: MIT
 *
 * The display of the power-on self test. Kernels write to its port only to pass
 * time, always the same value, so a code is printed only when it changes.
 */
#include "config.h"

#include "devices.h"

#include "log.h"

static uint32_t post_read(void *state, uint16_t port)
{
	struct post *d = state;

	return d->code;
}

static enum pc_outcome post_write(void *state, uint16_t port, uint32_t value)
{
	struct post *d = state;

	if (d->print && d->code != (uint8_t)value)
		log_info("POST code 0x%02x", (unsigned)(uint8_t)value);
	d->code = (uint8_t)value;
	return PC_GO_ON;
}

struct pc_device post_device(struct post *d)
{
	return (struct pc_device){
	    .name = "post",
	    .ports = {{0x80, 0x80}},
	    .sizes = PC_BYTES,
	    .state = d,
	    .read = post_read,
	    .write = post_write,
	};
}
