/* SPDX-License-Identifier: MIT
 *
 * The clock against exact arithmetic: however many conversions, and whatever they leave
 * over, nothing is lost; and at its end it stays there, the sum of its parts.
 */
#include "config.h"

#include "clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

typedef unsigned __int128 wide;

enum { MANY = 10000000 };

static void is_sum(const struct clock *c)
{
	assert_int_equal(stat_get(&c->tick),
			 stat_get(&c->executed) + stat_get(&c->charged) + stat_get(&c->idle));
}

/* Units that leave a remainder each time, and costs in between. */
static void no_drift(enum clock_source source, uint32_t num, uint32_t den, uint32_t khz)
{
	struct clock_rate rate = clock_rate_of(source, num, den, khz);
	struct clock c = {0};
	uint64_t units = 0, charged = 0, idle = 0;

	for (uint64_t i = 0; i < MANY; i++) {
		uint64_t u = i * 2654435761u % 997;
		units += u;
		if (i % 3 == 0)
			idle += clock_add_idle_units(&c, &rate, u);
		else
			clock_add_executed(&c, &rate, u);
		charged += i % 11;
		clock_add_charged(&c, i % 11);
	}
	is_sum(&c);
	assert_int_equal(stat_get(&c.charged), charged);
	assert_int_equal(stat_get(&c.idle), idle);
	assert_int_equal(stat_get(&c.executed) + idle,
			 (uint64_t)((wide)units * rate.num / rate.den));
}

static void test_monotonic(void **state)
{
	no_drift(CLOCK_SOURCE_MONOTONIC, 1, 1, 0);
	no_drift(CLOCK_SOURCE_MONOTONIC, 1000000, 999983, 0);
	no_drift(CLOCK_SOURCE_MONOTONIC, 1, 1000000, 0);
}

static void test_tsc(void **state)
{
	no_drift(CLOCK_SOURCE_TSC, 1, 1, 2249998);
	no_drift(CLOCK_SOURCE_TSC, 7, 3, 2600001);
}

static void test_none(void **state)
{
	struct clock_rate rate = clock_rate_of(CLOCK_SOURCE_NONE, 1, 1, 0);
	struct clock c = {0};

	assert_int_equal(clock_add_executed(&c, &rate, UINT64_MAX), 0);
	assert_int_equal(clock_add_idle_units(&c, &rate, UINT64_MAX), 0);
	assert_int_equal(clock_ns_for(&rate, 0, 1), UINT64_MAX);
	assert_int_equal(stat_get(&c.tick), 0);
}

/* So much host time is enough for the ticks, and a nanosecond less is not. */
static void time_for(const struct clock_rate *rate, uint64_t ticks)
{
	uint64_t ns = clock_ns_for(rate, 0, ticks);
	struct clock enough = {0}, less = {0};

	clock_add_executed(&enough, rate, ns);
	clock_add_executed(&less, rate, ns - 1);
	assert_true(stat_get(&enough.tick) >= ticks);
	assert_true(stat_get(&less.tick) < ticks);
}

static void test_time_for_ticks(void **state)
{
	struct clock_rate rate = clock_rate_of(CLOCK_SOURCE_MONOTONIC, 7, 3, 0);

	for (uint64_t ticks = 1; ticks < 100000; ticks = ticks * 3 + 1)
		time_for(&rate, ticks);
	rate = clock_rate_of(CLOCK_SOURCE_MONOTONIC, 1, 1000000, 0);
	assert_int_equal(clock_ns_for(&rate, 0, UINT64_MAX), UINT64_MAX);
}

static void test_its_end(void **state)
{
	struct clock_rate rate = clock_rate_of(CLOCK_SOURCE_MONOTONIC, 1000000, 1, 0);
	struct clock c = {0};

	assert_int_equal(clock_add_charged(&c, UINT64_MAX - 10), UINT64_MAX - 10);
	assert_int_equal(clock_add_executed(&c, &rate, UINT64_MAX), 10);
	assert_int_equal(clock_add_idle(&c, 1), 0);
	assert_int_equal(stat_get(&c.tick), UINT64_MAX);
	is_sum(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_monotonic), cmocka_unit_test(test_tsc),
	    cmocka_unit_test(test_none),      cmocka_unit_test(test_time_for_ticks),
	    cmocka_unit_test(test_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
