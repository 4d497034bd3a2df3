/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl status.
 */
#include "config.h"

#include "ctl.h"
#include "out.h"

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct kvmcpu_status *s;
	int r = kvmcpu_control_status(ctl->control, &s);

	if (r < 0)
		return ctl_failed(ctl, r);
	if (ctl->json)
		return ctl_json(ctl);
	out_status(s);
	return CTL_OK;
}

const struct command status_command = {
    .name = "status",
    .arguments = "",
    .summary = "Shows the VM, its vCPUs, and who keeps which of them waiting",
    .details = "",
    .shorts = "",
    .run = run,
};
