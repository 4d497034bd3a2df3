/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl run: lets paused vCPUs run by a budget and says what came of it. Ended
 * by a signal, its connection ends, and with that its runs.
 */
#include "config.h"

#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "out.h"

enum { OPTION_VCPU = 1, OPTION_AT_EXIT, OPTION_ADVANCE };

static struct kvmcpu_run_options want;

static const struct option longs[] = {
    {"vcpu", required_argument, NULL, OPTION_VCPU},
    {"at-exit", no_argument, NULL, OPTION_AT_EXIT},
    {"advance-to", required_argument, NULL, OPTION_ADVANCE},
    {NULL, 0, NULL, 0},
};

/* Ticks, or a number and a unit of simulated time: a tick is a picosecond. */
static int parse_ticks(const char *what, const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t ticks;
	} units[] = {{"", 1},	      {"ps", 1},	  {"ns", 1000},
		     {"us", 1000000}, {"ms", 1000000000}, {"s", 1000000000000}};
	size_t digits = strspn(text, "0123456789");
	char number[32];
	uint64_t n;

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (digits == 0 || digits >= sizeof(number) ||
		    strcmp(text + digits, units[i].name) != 0)
			continue;
		memcpy(number, text, digits);
		number[digits] = '\0';
		if (parse_number(what, number, UINT64_MAX / units[i].ticks, &n) != 0)
			return CTL_USAGE;
		*ret = n * units[i].ticks;
		return 0;
	}
	return ctl_error(CTL_USAGE, "%s '%s': give ticks, or a number and ps, ns, us, ms or s",
			 what, text);
}

static int take_option(int option, const char *value)
{
	switch (option) {
	case OPTION_VCPU:
		return parse_vcpus(value, &want.vcpu_mask);
	case OPTION_AT_EXIT:
		want.stop_at_exit = true;
		return 0;
	default:
		return parse_ticks("--advance-to", value, &want.advance_to_tick);
	}
}

static void print(const struct kvmcpu_vcpu_run *r)
{
	printf("vCPU %u  %s\n"
	       "  ticks     %llu executed, %llu charged, %llu idle; the clock is at %llu\n"
	       "  exits     %llu%s\n",
	       r->vcpu, out_run_end(r->end), (unsigned long long)r->executed_ticks,
	       (unsigned long long)r->charged_ticks, (unsigned long long)r->idle_ticks,
	       (unsigned long long)r->tick, (unsigned long long)r->exits,
	       r->in_flight ? ", the last still to be answered" : "");
}

int ctl_run(struct ctl *ctl, const struct kvmcpu_run_options *options,
	    void (*print_run)(const struct kvmcpu_vcpu_run *run))
{
	const struct kvmcpu_run_result *result;
	int r = kvmcpu_control_run(ctl->control, options, &result);

	if (r < 0)
		return ctl_failed(ctl, r);
	if (ctl->json)
		return ctl_json(ctl);
	for (size_t i = 0; i < result->n_runs; i++)
		print_run(&result->runs[i]);
	return CTL_OK;
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	int r = parse_ticks("budget", argv[0], &want.ticks);

	return r != 0 ? r : ctl_run(ctl, &want, print);
}

const struct command run_command = {
    .name = "run",
    .arguments = "BUDGET",
    .summary = "Lets paused vCPUs run for some simulated time",
    .details = "  BUDGET             in ticks, or with a unit: 100us (ps, ns, us, ms, s)\n"
	       "  --vcpu LIST        only these, as in 0,2,5-7 (default: all)\n"
	       "  --at-exit          end behind the first exit that is answered as well\n"
	       "  --advance-to TICK  first set a clock that stands before it to this tick\n",
    .shorts = "",
    .longs = longs,
    .option = take_option,
    .min_arguments = 1,
    .max_arguments = 1,
    .run = run,
};
