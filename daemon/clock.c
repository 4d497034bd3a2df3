/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "clock.h"

#include <x86intrin.h>

#define TICKS_PER_NS 1000ull /* a tick is a picosecond: VM_TICKS_PER_SECOND */

typedef unsigned __int128 wide;

struct clock_rate clock_rate_of(enum clock_source source, uint32_t factor_num, uint32_t factor_den,
				uint32_t tsc_khz)
{
	struct clock_rate r = {source, 0, 1};

	if (source == CLOCK_SOURCE_MONOTONIC) {
		r.num = TICKS_PER_NS * factor_num;
		r.den = factor_den;
	} else if (source == CLOCK_SOURCE_TSC) { /* a cycle lasts 10^9 / khz picoseconds */
		r.num = 1000000ull * TICKS_PER_NS * factor_num;
		r.den = (uint64_t)tsc_khz * factor_den;
	}
	return r;
}

uint64_t clock_read(const struct clock_rate *rate, uint64_t now_ns)
{
	return rate->source == CLOCK_SOURCE_TSC ? __rdtsc() : now_ns;
}

/* The ticks of so many units, and what is left over goes to the next. */
static uint64_t convert(struct clock *c, const struct clock_rate *rate, uint64_t units)
{
	wide parts = (wide)units * rate->num + c->remainder;
	wide ticks = parts / rate->den;

	c->remainder = (uint64_t)(parts % rate->den);
	return ticks > UINT64_MAX ? UINT64_MAX : (uint64_t)ticks;
}

/* Adds to the clock and to one of its parts, which stay equal. */
static uint64_t add(struct clock *c, _Atomic uint64_t *part, uint64_t ticks)
{
	uint64_t left = UINT64_MAX - stat_get(&c->tick);

	if (ticks > left)
		ticks = left;
	stat_add(part, ticks);
	stat_add(&c->tick, ticks);
	return ticks;
}

uint64_t clock_add_executed(struct clock *c, const struct clock_rate *rate, uint64_t units)
{
	return rate->num == 0 ? 0 : add(c, &c->executed, convert(c, rate, units));
}

uint64_t clock_add_ticks_executed(struct clock *c, uint64_t ticks)
{
	return add(c, &c->executed, ticks);
}

uint64_t clock_add_charged(struct clock *c, uint64_t ticks)
{
	return add(c, &c->charged, ticks);
}

uint64_t clock_add_idle(struct clock *c, uint64_t ticks)
{
	return add(c, &c->idle, ticks);
}

uint64_t clock_add_idle_units(struct clock *c, const struct clock_rate *rate, uint64_t units)
{
	return rate->num == 0 ? 0 : add(c, &c->idle, convert(c, rate, units));
}

uint64_t clock_ns_for(const struct clock_rate *rate, uint32_t tsc_khz, uint64_t ticks)
{
	wide units, ns;

	if (rate->num == 0)
		return UINT64_MAX;
	units = ((wide)ticks * rate->den + rate->num - 1) / rate->num;
	ns = rate->source == CLOCK_SOURCE_TSC ? (units * 1000000 + tsc_khz - 1) / tsc_khz : units;
	return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

const char *clock_source_name(enum clock_source source)
{
	static const char *const names[] = {"none", "monotonic", "tsc"};

	return names[source];
}
