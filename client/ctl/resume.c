/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl resume.
 */
#include "config.h"

#include "ctl.h"
#include "out.h"

static uint64_t wanted_vcpus;

static const struct option longs[] = {
    {"vcpu", required_argument, NULL, 1},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, const char *value)
{
	return parse_vcpus(value, &wanted_vcpus);
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct kvmcpu_status *s;
	int r = kvmcpu_control_resume(ctl->control, wanted_vcpus, &s);

	if (r < 0)
		return ctl_failed(ctl, r);
	if (ctl->json)
		return ctl_json(ctl);
	out_status(s);
	return CTL_OK;
}

const struct command resume_command = {
    .name = "resume",
    .arguments = "",
    .summary = "Lets paused vCPUs run again",
    .details = "  --vcpu LIST        only these, as in 0,2,5-7 (default: all)\n",
    .shorts = "",
    .longs = longs,
    .option = take_option,
    .run = run,
};
