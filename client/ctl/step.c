/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl step: exactly so many instructions, and what they cost.
 */
#include "config.h"

#include <stdio.h>

#include "ctl.h"
#include "out.h"

static struct kvmcpu_run_options want;

static const struct option longs[] = {
    {"vcpu", required_argument, NULL, 1},
    {NULL, 0, NULL, 0},
};

static int take_option(int option, const char *value)
{
	return parse_vcpus(value, &want.vcpu_mask);
}

static void print(const struct kvmcpu_vcpu_run *r)
{
	double us = (double)r->host_ns / 1000;

	printf("vCPU %u  %s behind %llu instruction%s\n"
	       "  on the host  %.1f us",
	       r->vcpu, out_run_end(r->end), (unsigned long long)r->instructions,
	       r->instructions == 1 ? "" : "s", us);
	if (r->instructions > 0)
		printf(", %.1f us each", us / (double)r->instructions);
	printf("\n  clock        %llu\n", (unsigned long long)r->tick);
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	int r = 0;

	want.instructions = 1;
	if (argc > 0)
		r = parse_number("instructions", argv[0], UINT64_MAX, &want.instructions);
	if (r == 0 && want.instructions == 0)
		r = ctl_error(CTL_USAGE, "instructions '0': give at least 1");
	if (r != 0)
		return r;
	want.ticks = UINT64_MAX / 2;
	return ctl_run(ctl, &want, print);
}

const struct command step_command = {
    .name = "step",
    .arguments = "[N]",
    .summary = "Lets paused vCPUs execute N instructions, 1 if not given",
    .details = "  --vcpu LIST        only these, as in 0,2,5-7 (default: all)\n",
    .shorts = "",
    .longs = longs,
    .option = take_option,
    .max_arguments = 1,
    .run = run,
};
