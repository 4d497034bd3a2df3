/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl ping: does the daemon's loop answer, and how fast?
 */
#include "config.h"

#include "ctl.h"

#include <stdio.h>

#include "out.h"
#include "sock.h"

static int run(struct ctl *ctl, int argc, char **argv)
{
	uint64_t before_ns = sock_now_ns();
	int r = kvmcpu_control_ping(ctl->control);
	uint64_t took_ns = sock_now_ns() - before_ns;
	char time[OUT_TIME];

	if (r < 0)
		return ctl_failed(ctl, r);
	if (ctl->json)
		return ctl_json(ctl);
	printf("kvmcpud %s answers in %s\n", kvmcpu_control_hello(ctl->control)->daemon_version,
	       out_time(time, took_ns));
	return CTL_OK;
}

const struct command ping_command = {
    .name = "ping",
    .arguments = "",
    .summary = "Asks whether the daemon answers",
    .details = "",
    .shorts = "",
    .run = run,
};
