/* SPDX-License-Identifier: MIT
 *
 * A monitor that keeps the moment at which each exit left the guest: the way to
 * measure exits that no client sees. Where events passed it, it leaves a gap, so
 * a loss never looks like a slow exit.
 */
#include "config.h"

#include <err.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <kvmcpu/kvmcpu.h>

#include "stamps.h"

static int watch(struct kvmcpu_monitor *monitor, struct stamps *stamps)
{
	const struct kvmcpu_event *event;
	uint64_t seq = 0;
	int more = 1;

	while (more) {
		int r = kvmcpu_monitor_next(monitor, KVMCPU_FOREVER, &event);
		if (r == -EINTR)
			continue;
		if (r != 0)
			errx(1, "%s", kvmcpu_monitor_error(monitor));
		if (event->kind != KVMCPU_EVENT_EXIT)
			continue;
		if (event->seq != seq + 1)
			more = stamps_add(stamps, 0);
		seq = event->seq;
		if (more)
			more = stamps_add(stamps, event->exit.exit.left_ns);
	}
	return stamps_write(stamps);
}

int main(int argc, char **argv)
{
	struct kvmcpu_monitor_options options = {0};
	struct kvmcpu_monitor *monitor;
	struct kvmcpu_error error;
	struct stamps stamps;

	if (argc != 5)
		errx(64, "usage: watch CPU EXITS RUNTIME-DIR VM");
	stamps_init(&stamps, strtoul(argv[2], NULL, 0));
	stamps_pin(atoi(argv[1]));
	options.peer.runtime_dir = argv[3];
	options.peer.vm = argv[4];
	if (kvmcpu_monitor_new(&options, &monitor, &error) < 0)
		errx(1, "%s", error.text);
	/* The VM is paused until it reads this. */
	fputs("ready\n", stderr);
	return watch(monitor, &stamps);
}
