/* SPDX-License-Identifier: MIT
 *
 * When the clock's interrupts are due, at times that are given: 1000000000 s after
 * the epoch is Sunday, 9 September 2001, 01:46:40.
 */
#include "config.h"

#include "rtc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define S 1000000000ll
#define NOW (1000000000ll * S)
#define BCD_24 0x02
#define BINARY_24 0x06
#define BCD_12 0x00
#define BINARY_12 0x04
#define ANY 0xff

struct alarm {
	uint8_t mode, hours, minutes, seconds;
	int64_t after_s; /* behind NOW; -1 for never */
};

static const struct alarm alarms[] = {
    {BCD_24, 0x01, 0x46, 0x41, 1},
    {BCD_24, 0x01, 0x46, 0x40, 86400}, /* this very second has begun already */
    {BCD_24, 0x01, 0x47, 0x00, 20},
    {BCD_24, 0x23, 0x59, 0x59, 22 * 3600 + 13 * 60 + 19},
    {BCD_24, 0x00, 0x00, 0x00, 22 * 3600 + 13 * 60 + 20},
    {BCD_24, ANY, ANY, ANY, 1},
    {BCD_24, ANY, ANY, 0x40, 60},
    {BCD_24, ANY, ANY, 0x39, 59},
    {BCD_24, ANY, 0x00, 0x00, 13 * 60 + 20},
    {BCD_24, 0x02, ANY, 0xc0, 13 * 60 + 20},
    {BINARY_24, 1, 46, 59, 19},
    {BINARY_24, 13, 0, 0, 11 * 3600 + 13 * 60 + 20},
    {BCD_12, 0x01, 0x47, 0x00, 20},
    {BCD_12, 0x81, 0x47, 0x00, 43220},
    {BCD_12, 0x12, 0x00, 0x00, 22 * 3600 + 13 * 60 + 20},
    {BCD_12, 0x92, 0x00, 0x00, 10 * 3600 + 13 * 60 + 20},
    {BINARY_12, 0x81, 47, 0, 43220},
    {BCD_24, 0x24, 0x00, 0x00, -1},
    {BCD_24, 0x01, 0x60, 0x00, -1},
    {BCD_24, ANY, ANY, 0x3a, -1},
};

static struct cmos clock_at(int64_t now_ns, uint8_t b)
{
	struct cmos d;

	cmos_init(&d, 64 << 20);
	d.ram[RTC_B] = b;
	d.seen_ns = now_ns;
	return d;
}

static void test_alarms(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(alarms) / sizeof(alarms[0]); i++) {
		const struct alarm *a = &alarms[i];
		struct cmos d = clock_at(NOW + 5, a->mode | RTC_ALARM);
		int64_t due = a->after_s < 0 ? RTC_NEVER : NOW + a->after_s * S;

		d.ram[RTC_HOURS_ALARM] = a->hours;
		d.ram[RTC_MINUTES_ALARM] = a->minutes;
		d.ram[RTC_SECONDS_ALARM] = a->seconds;
		if (rtc_next(&d) != due)
			fail_msg("alarm %zu: due %lld, not %lld", i,
				 (long long)(rtc_next(&d) - NOW), (long long)(due - NOW));
		if (due == RTC_NEVER)
			continue;
		rtc_catch_up(&d, due - 1);
		assert_false(rtc_line(&d));
		rtc_catch_up(&d, due);
		assert_true(rtc_line(&d));
	}
}

static void test_rates(void **state)
{
	static const unsigned hz[] = {0,   256, 128, 8192, 4096, 2048, 1024, 512,
				      256, 128, 64,  32,   16,	 8,    4,    2};
	unsigned rate, n;

	for (rate = 0; rate < 16; rate++) {
		struct cmos d = clock_at(NOW, BCD_24 | RTC_PERIODIC);

		d.ram[RTC_A] = (uint8_t)(0x20 | rate);
		if (hz[rate] == 0)
			assert_true(rtc_next(&d) == RTC_NEVER);
		/* Over a second they are as many as they should be, and even. */
		for (n = 1; n <= hz[rate]; n++) {
			int64_t due = rtc_next(&d);

			assert_true(due == NOW + (n * S + hz[rate] - 1) / hz[rate]);
			rtc_catch_up(&d, due);
			assert_true(rtc_line(&d));
			d.ram[RTC_C] = 0;
		}
	}
}

static void test_nothing_ticks_unasked(void **state)
{
	struct cmos d = clock_at(NOW, BCD_24);

	assert_true(rtc_next(&d) == RTC_NEVER);
	/* The flags come true all the same. */
	rtc_catch_up(&d, NOW + S);
	assert_int_equal(d.ram[RTC_C], RTC_PERIODIC | RTC_UPDATE);
	assert_false(rtc_line(&d));
	/* Pending already, so the line is high and there is nothing to wait for. */
	d.ram[RTC_B] |= RTC_UPDATE;
	assert_true(rtc_line(&d));
	assert_true(rtc_next(&d) == RTC_NEVER);
	d.ram[RTC_C] = 0;
	assert_true(rtc_next(&d) == NOW + 2 * S);
}

static void test_a_held_or_reset_clock_stands(void **state)
{
	struct cmos d = clock_at(NOW, BCD_24 | RTC_UPDATE | RTC_ALARM | RTC_B_SET);

	assert_true(rtc_next(&d) == RTC_NEVER);
	assert_false(rtc_updates(&d, NOW + S - 1));
	d = clock_at(NOW, BCD_24 | RTC_SOURCES);
	d.ram[RTC_A] = 0x60 | 6;
	assert_true(rtc_next(&d) == RTC_NEVER);
}

static void test_update_in_progress(void **state)
{
	struct cmos d = clock_at(NOW, BCD_24);

	assert_false(rtc_updates(&d, NOW));
	assert_false(rtc_updates(&d, NOW + S - 244001));
	assert_true(rtc_updates(&d, NOW + S - 244000));
	assert_true(rtc_updates(&d, NOW + S - 1));
	assert_false(rtc_updates(&d, NOW + S));
}

static void test_a_clock_set_back(void **state)
{
	struct cmos d = clock_at(NOW + 3600 * S, BCD_24 | RTC_UPDATE);

	rtc_catch_up(&d, NOW);
	assert_int_equal(d.ram[RTC_C], 0);
	assert_true(rtc_next(&d) == NOW + S);
}

static uint8_t get(struct pc_device *d, uint8_t index)
{
	d->write(d->state, 0x70, index);
	return (uint8_t)d->read(d->state, 0x71);
}

static void put(struct pc_device *d, uint8_t index, uint8_t value)
{
	d->write(d->state, 0x70, index);
	d->write(d->state, 0x71, value);
}

/* Through the ports, at whatever time it is. */
static void test_registers(void **state)
{
	struct cmos clock;
	struct pc_device d;

	cmos_init(&clock, 64 << 20);
	d = cmos_device(&clock);
	put(&d, RTC_B, BCD_24 | RTC_B_SET | RTC_UPDATE);
	assert_int_equal(get(&d, RTC_B), BCD_24 | RTC_B_SET);
	put(&d, RTC_YEAR, 0x77);
	assert_int_equal(get(&d, RTC_YEAR), 0x77);
	put(&d, RTC_B, BCD_24);
	assert_int_not_equal(get(&d, RTC_YEAR), 0x77);
	put(&d, RTC_C, 0xff);
	put(&d, RTC_D, 0x00);
	assert_int_equal(get(&d, RTC_D), 0x80);
	clock.ram[RTC_C] = RTC_UPDATE;
	clock.ram[RTC_B] |= RTC_UPDATE;
	assert_true(d.line(d.state));
	assert_int_equal(get(&d, RTC_C) & (RTC_C_IRQ | RTC_UPDATE), RTC_C_IRQ | RTC_UPDATE);
	assert_false(d.line(d.state));
	assert_int_equal(get(&d, RTC_C) & RTC_C_IRQ, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_alarms),
	    cmocka_unit_test(test_rates),
	    cmocka_unit_test(test_nothing_ticks_unasked),
	    cmocka_unit_test(test_a_held_or_reset_clock_stands),
	    cmocka_unit_test(test_update_in_progress),
	    cmocka_unit_test(test_a_clock_set_back),
	    cmocka_unit_test(test_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
