/* SPDX-License-Identifier: MIT
 *
 * A device of two registers on ports 0x500 and 0x501: the first counts its
 * reads, the second holds what was written last. An access costs 100 ticks.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <kvmcpu/kvmcpu.h>

struct registers {
	uint8_t reads, last;
};

static int answer(void *arg, const struct kvmcpu_exit *exit, uint8_t *data,
		  struct kvmcpu_reply *reply)
{
	struct registers *r = arg;
	uint32_t i;

	reply->ticks = 100;
	if (exit->size != 1)
		return 0; /* reads stay all ones, writes are dropped */
	for (i = 0; i < exit->count; i++) {
		if (exit->direction == KVMCPU_WRITE && exit->address == 0x501)
			r->last = exit->data[i];
		else if (exit->direction == KVMCPU_READ)
			data[i] = exit->address == 0x500 ? r->reads++ : r->last;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct kvmcpu_claim claim = {
	    .space = KVMCPU_SPACE_PIO, .first = 0x500, .last = 0x501, .name = "example"};
	struct kvmcpu_device_options options = {.claims = &claim, .n_claims = 1};
	struct registers registers = {0, 0};
	struct kvmcpu_error error;
	struct kvmcpu_device *device;
	int r;

	options.peer.vm = argc > 1 ? argv[1] : NULL;
	if (kvmcpu_device_new(&options, &device, &error) < 0) {
		fprintf(stderr, "%s: %s\n", argv[0], error.text);
		return 1;
	}
	do
		r = kvmcpu_device_run(device, answer, &registers);
	while (r == -EINTR);
	fprintf(stderr, "%s: %s\n", argv[0], kvmcpu_device_error(device));
	kvmcpu_device_free(device);
	return r < 0;
}
