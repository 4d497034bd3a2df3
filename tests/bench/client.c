/* SPDX-License-Identifier: MIT
 *
 * A device client on libkvmcpu, as simple as one can be: it answers every access
 * to its range with zeros and keeps the moment at which each left the guest.
 * Where an exit was served otherwise in between, it leaves a gap.
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <kvmcpu/kvmcpu.h>

#include "stamps.h"

struct device {
	struct stamps stamps;
	uint64_t seq[KVMCPU_MAX_VCPUS];
};

static int answer(void *arg, const struct kvmcpu_exit *exit, uint8_t *data,
		  struct kvmcpu_reply *reply)
{
	struct device *d = arg;
	uint64_t last = d->seq[exit->vcpu];
	int more = 1;

	d->seq[exit->vcpu] = exit->seq;
	if (data != NULL)
		memset(data, 0, exit->size * exit->count);
	if (exit->seq != last + 1)
		more = stamps_add(&d->stamps, 0);
	return more && stamps_add(&d->stamps, exit->left_ns) ? 0 : 1;
}

static struct kvmcpu_device *attach(char **argv)
{
	struct kvmcpu_claim claim = {.first = strtoull(argv[6], NULL, 0)};
	struct kvmcpu_device_options options = {.claims = &claim, .n_claims = 1};
	struct kvmcpu_device *device;
	struct kvmcpu_error error;

	claim.space = strcmp(argv[5], "mmio") == 0	  ? KVMCPU_SPACE_MMIO
		      : strcmp(argv[5], "hypercall") == 0 ? KVMCPU_SPACE_HYPERCALL
							  : KVMCPU_SPACE_PIO;
	claim.last = claim.first;
	options.peer.runtime_dir = argv[3];
	options.peer.vm = argv[4];
	if (kvmcpu_device_new(&options, &device, &error) < 0)
		errx(1, "%s", error.text);
	return device;
}

int main(int argc, char **argv)
{
	static struct device d;
	struct kvmcpu_device *device;
	int r;

	if (argc != 7)
		errx(64, "usage: client CPU EXITS RUNTIME-DIR VM pio|mmio|out|hypercall ADDRESS");
	stamps_init(&d.stamps, strtoul(argv[2], NULL, 0));
	stamps_pin(atoi(argv[1]));
	device = attach(argv);
	do
		r = kvmcpu_device_run(device, answer, &d);
	while (r == -EINTR);
	if (r != 1)
		errx(1, "%s", kvmcpu_device_error(device));
	kvmcpu_device_free(device);
	return stamps_write(&d.stamps);
}
