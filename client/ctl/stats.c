/* SPDX-License-Identifier: MIT
 *
 * kvmcpuctl stats: counters one to a line, "vcpu0.num_io 12", then the times of
 * exits that clients answered, then what each claim has seen. One table names
 * the counters.
 */
#include "config.h"

#include "ctl.h"
#include "out.h"

#include <stddef.h>
#include <stdio.h>

#include "codec.h"

#define COUNTER(name)                                           \
	{                                                       \
#name, offsetof(struct kvmcpu_vcpu_stats, name) \
	}

static const struct {
	const char *name;
	size_t offset;
} counters[] = {
    COUNTER(tick),
    COUNTER(num_vm_exits),
    COUNTER(num_vm_half_entries),
    COUNTER(num_exit_signal),
    COUNTER(num_mmio),
    COUNTER(num_io),
    COUNTER(num_halt),
    COUNTER(num_interrupts),
    COUNTER(num_hypercalls),
    COUNTER(num_msr),
    COUNTER(num_other),
    COUNTER(num_unclaimed),
    COUNTER(num_filled),
    COUNTER(num_redelivered),
    COUNTER(ticks_executed),
    COUNTER(ticks_charged),
    COUNTER(ticks_idle),
    COUNTER(num_runs),
    COUNTER(num_steps),
    COUNTER(num_quantum_waits),
    COUNTER(max_skew_ticks),
    COUNTER(num_events),
    COUNTER(num_events_lost),
    COUNTER(io_bytes),
};

static void print_counters(const struct kvmcpu_vcpu_stats *v)
{
	char name[64];
	size_t i;

	for (i = 0; i < sizeof(counters) / sizeof(counters[0]); i++) {
		const uint64_t *value = (const uint64_t *)((const char *)v + counters[i].offset);

		snprintf(name, sizeof(name), "vcpu%u.%s", v->vcpu, counters[i].name);
		printf("%-28s %20llu\n", name, (unsigned long long)*value);
	}
}

static void add_histogram(struct table *t, const struct kvmcpu_histogram *h)
{
	char time[OUT_TIME];

	table_cell(t, "%llu", (unsigned long long)h->count);
	if (h->count == 0) {
		for (int i = 0; i < 4; i++)
			table_cell(t, "%s", "");
		return;
	}
	table_cell(t, "%s", out_time(time, h->sum_ns / h->count));
	table_cell(t, "%s", out_time(time, h->p50_ns));
	table_cell(t, "%s", out_time(time, h->p99_ns));
	table_cell(t, "%s", out_time(time, h->max_ns));
}

static void print_times(const struct kvmcpu_stats *s)
{
	struct table t = {.right = 0x3e};
	size_t i;

	table_header(&t, "time|count|mean|p50|p99|max");
	for (i = 0; i < s->n_vcpus; i++) {
		table_cell(&t, "vcpu%u.to_sent", s->vcpus[i].vcpu);
		add_histogram(&t, &s->vcpus[i].to_sent);
		table_cell(&t, "vcpu%u.to_replied", s->vcpus[i].vcpu);
		add_histogram(&t, &s->vcpus[i].to_replied);
		table_cell(&t, "vcpu%u.to_reentered", s->vcpus[i].vcpu);
		add_histogram(&t, &s->vcpus[i].to_reentered);
	}
	table_print(&t);
}

static void print_claims(const struct kvmcpu_stats *s)
{
	struct table t = {.right = 0xfff8};
	char range[OUT_RANGE];
	size_t i;

	table_header(&t, "claim|owner|range|reads|writes|bus errors|filled|redelivered|ticks|"
			 "answered|mean|p50|p99|max");
	for (i = 0; i < s->n_claims; i++) {
		const struct kvmcpu_claim_stats *c = &s->claims[i];

		table_cell(&t, "%s", c->name != NULL ? c->name : "");
		table_cell(&t, "%s%s", c->client != NULL ? c->client : "",
			   c->absent ? " (absent)" : "");
		table_cell(&t, "%s %s", codec_space_name(c->space),
			   out_range(range, c->first, c->last));
		table_cell(&t, "%llu", (unsigned long long)c->reads);
		table_cell(&t, "%llu", (unsigned long long)c->writes);
		table_cell(&t, "%llu", (unsigned long long)c->bus_errors);
		table_cell(&t, "%llu", (unsigned long long)c->filled);
		table_cell(&t, "%llu", (unsigned long long)c->redelivered);
		table_cell(&t, "%llu", (unsigned long long)c->ticks_charged);
		add_histogram(&t, &c->service);
	}
	table_print(&t);
}

static int run(struct ctl *ctl, int argc, char **argv)
{
	const struct kvmcpu_stats *s;
	int r = kvmcpu_control_stats(ctl->control, &s);
	size_t i;

	if (r < 0)
		return ctl_failed(ctl, r);
	if (ctl->json)
		return ctl_json(ctl);
	for (i = 0; i < s->n_vcpus; i++)
		print_counters(&s->vcpus[i]);
	putchar('\n');
	print_times(s);
	if (s->n_claims > 0) {
		putchar('\n');
		print_claims(s);
	}
	return CTL_OK;
}

const struct command stats_command = {
    .name = "stats",
    .arguments = "",
    .summary = "Shows counters, service times and what each claim has seen",
    .details = "",
    .shorts = "",
    .run = run,
};
