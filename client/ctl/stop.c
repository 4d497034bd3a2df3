/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl stop: done when the daemon has acknowledged; it then ends the VM and
 * itself.
 */
#include "config.h"

#include "ctl.h"

#include <stdio.h>
#include <string.h>

enum { OPTION_CODE = 1, OPTION_REASON };

static struct {
	uint64_t code;
	const char *reason;
} want;

static const struct option longs[] = {
    {"code", required_argument, NULL, OPTION_CODE},
    {"reason", required_argument, NULL, OPTION_REASON},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, const char *value)
{
	if (option == OPTION_CODE)
		return parse_number("--code", value, KVMCPU_MAX_STOP_CODE, &want.code);
	if (strlen(value) > KVMCPU_MAX_REASON)
		return ctl_error(CTL_USAGE, "--reason is too long: at most %d bytes",
				 KVMCPU_MAX_REASON);
	want.reason = value;
	return 0;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	int r = kvmcpu_control_stop(ctl->control, (uint32_t)want.code, want.reason);

	if (r < 0)
		return ctl_failed(ctl, r);
	return ctl->json ? ctl_json(ctl) : CTL_OK;
}

const struct command stop_command = {
    .name = "stop",
    .arguments = "",
    .summary = "Ends the VM and its daemon",
    .details = "  --code N           the daemon's exit status, 0 to 63 (default: 0)\n"
	       "  --reason TEXT      for the daemon's log\n",
    .shorts = "",
    .longs = longs,
    .option = take_option,
    .run = run,
};
