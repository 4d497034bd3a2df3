/* SPDX-License-Identifier: MIT
 *
 * An exit is one access or, with string IO, many to the same port. The loop over
 * its elements and the check of their size are here, once for all devices, so
 * that a device sees one register access at a time. Output is written before the
 * guest goes on.
 */
#include "config.h"

#include "pc.h"

#include <assert.h>
#include <string.h>

#include "log.h"

static const struct kvmcpu_effect reset = {
    .kind = KVMCPU_EFFECT_STOP_VM,
    .stop = {.code = 0, .reason = "guest reset"},
};

void pc_add(struct pc *pc, struct pc_device device)
{
	assert(pc->n_devices < PC_MAX_DEVICES);
	pc->devices[pc->n_devices++] = device;
}

size_t pc_claims(const struct pc *pc, struct kvmcpu_claim *ret)
{
	size_t i, k, n = 0;

	for (i = 0; i < pc->n_devices; i++) {
		const struct pc_device *d = &pc->devices[i];

		for (k = 0; k < 2 && d->ports[k].last != 0; k++)
			ret[n++] = (struct kvmcpu_claim){
			    .space = KVMCPU_SPACE_PIO,
			    .first = d->ports[k].first,
			    .last = d->ports[k].last,
			    .name = d->name,
			    .absence = KVMCPU_ABSENCE_FREEZE,
			};
	}
	return n;
}

static struct pc_device *find(struct pc *pc, uint64_t port)
{
	size_t i, k;

	for (i = 0; i < pc->n_devices; i++)
		for (k = 0; k < 2; k++)
			if (port >= pc->devices[i].ports[k].first &&
			    port <= pc->devices[i].ports[k].last)
				return &pc->devices[i];
	return NULL;
}

static void read_all(struct pc_device *d, const struct kvmcpu_exit *x, uint8_t *data)
{
	uint32_t i, value;

	for (i = 0; i < x->count; i++) {
		value = d->read(d->state, (uint16_t)x->address);
		/* Both sides are little-endian. */
		memcpy(data + (size_t)i * x->size, &value, x->size);
	}
}

static enum pc_outcome write_all(struct pc_device *d, const struct kvmcpu_exit *x)
{
	enum pc_outcome outcome = PC_GO_ON;
	uint32_t i, value;

	for (i = 0; i < x->count && outcome == PC_GO_ON; i++) {
		value = 0;
		memcpy(&value, x->data + (size_t)i * x->size, x->size);
		outcome = d->write(d->state, (uint16_t)x->address, value);
	}
	return outcome;
}

int pc_serve(void *arg, const struct kvmcpu_exit *exit, uint8_t *data, struct kvmcpu_reply *reply)
{
	struct pc_device *d = exit->kind == KVMCPU_EXIT_PIO ? find(arg, exit->address) : NULL;

	if (d == NULL || !(d->sizes & (1u << exit->size))) {
		log_debug("no register: port %#llx, %u bytes, %s",
			  (unsigned long long)exit->address, exit->size,
			  exit->direction == KVMCPU_READ ? "reads as ones" : "write dropped");
		return 0;
	}
	if (exit->direction == KVMCPU_READ) {
		read_all(d, exit, data);
	} else if (write_all(d, exit) == PC_RESET) {
		log_info("%s: the guest resets the machine", d->name);
		reply->effects = &reset;
		reply->n_effects = 1;
	}
	return d->sink != NULL ? sink_flush(d->sink) : 0;
}
