/* SPDX-License-Identifier: MIT
 *
 * A vCPU's clock: ticks that it executed, that its accesses cost, and that it spent
 * halted. The clock is their sum, always, and every part is an integer: what a
 * conversion leaves over (less than a tick) is carried to the next one, so nothing
 * drifts however often it is added to.
 *
 * What was executed is measured on the host, from entry to exit, in units of the
 * source (nanoseconds of CLOCK_MONOTONIC, or TSC cycles), and stretched by the host
 * factor: how many times as long the simulated processor would have taken.
 *
 * The clock ends at 2^64 - 1 ticks, some 213 days of picoseconds, and stays there.
 */
#ifndef KVMCPUD_CLOCK_H
#define KVMCPUD_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "stats.h"

enum clock_source {
	CLOCK_SOURCE_NONE = 0, /* executing takes no time: only accesses do */
	CLOCK_SOURCE_MONOTONIC = 1,
	CLOCK_SOURCE_TSC = 2,
};

/* How ticks come from units, exactly: num / den ticks each. */
struct clock_rate {
	enum clock_source source;
	uint64_t num, den;
};

/* The host factor's numerator and denominator are 1 to this; a picked bound. */
#define CLOCK_FACTOR_MAX 1000000u

/* tsc_khz counts for the TSC alone, and is not 0 then. */
struct clock_rate clock_rate_of(enum clock_source source, uint32_t factor_num, uint32_t factor_den,
				uint32_t tsc_khz);

/* V writes, any thread reads; remainder is V's own. */
struct clock {
	_Atomic uint64_t tick; /* the sum of the three */
	_Atomic uint64_t executed, charged, idle;
	uint64_t remainder; /* of a tick, in parts of 1 / den */
};

/* The source's time now; now_ns is CLOCK_MONOTONIC's, which the caller has read. */
uint64_t clock_read(const struct clock_rate *rate, uint64_t now_ns);

/* V only. Each returns the ticks that were added: fewer only at the clock's end. */
uint64_t clock_add_executed(struct clock *c, const struct clock_rate *rate, uint64_t units);
uint64_t clock_add_charged(struct clock *c, uint64_t ticks);
uint64_t clock_add_idle(struct clock *c, uint64_t ticks);
uint64_t clock_add_ticks_executed(struct clock *c, uint64_t ticks);
/* The same as executed, for units spent halted. */
uint64_t clock_add_idle_units(struct clock *c, const struct clock_rate *rate, uint64_t units);

/* Nanoseconds on the host after which at least so many ticks will have been
 * executed; UINT64_MAX if they never will be. tsc_khz as above. */
uint64_t clock_ns_for(const struct clock_rate *rate, uint32_t tsc_khz, uint64_t ticks);

const char *clock_source_name(enum clock_source source);

#endif
