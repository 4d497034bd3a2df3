/* SPDX-License-Identifier: MIT
 *
 * Nothing ticks here. What has happened is found by comparing two times: the one
 * up to which the flags are true, and now. So a flag is right whenever somebody
 * looks, and a timer is needed only for what would interrupt: one time, when the
 * first source that is enabled and not pending yet is due. Pending, it has its
 * line high already, and nothing more can happen until register C is read.
 *
 * Seconds and periods are counted from the epoch, so the sources keep step with
 * the clock that the guest reads.
 */
#include "config.h"

#include "rtc.h"

#include <time.h>

#define SECOND 1000000000ll
#define CRYSTAL_HZ 32768
#define DIVIDER_RESET 0x60 /* both bits: the divider stands */
#define ANY 0xc0	   /* an alarm register that fits every time */
#define UPDATE_AHEAD_NS 244000

int64_t rtc_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

static bool stands(const struct cmos *d)
{
	return (d->ram[RTC_A] & DIVIDER_RESET) == DIVIDER_RESET;
}

static bool updating(const struct cmos *d)
{
	return !stands(d) && !(d->ram[RTC_B] & RTC_B_SET);
}

bool rtc_updates(const struct cmos *d, int64_t now_ns)
{
	return updating(d) && now_ns % SECOND >= SECOND - UPDATE_AHEAD_NS;
}

/* ---- the next time of each source behind from_ns ---- */

/* Crystal cycles of a period, 0 for none. With this crystal rates 1 and 2 are not
 * the fastest: they repeat 8 and 9. */
static int64_t period_cycles(const struct cmos *d)
{
	unsigned rate = d->ram[RTC_A] & 0x0f;

	if (rate == 0 || stands(d))
		return 0;
	return 1ll << (rate <= 2 ? rate + 6 : rate - 1);
}

static int64_t next_period(const struct cmos *d, int64_t from_ns)
{
	int64_t cycles = period_cycles(d), second = from_ns / SECOND, n;

	if (cycles == 0)
		return RTC_NEVER;
	/* Periods divide a second; counted within it nothing overflows. */
	n = from_ns % SECOND * CRYSTAL_HZ / SECOND / cycles + 1;
	return second * SECOND + (n * cycles * SECOND + CRYSTAL_HZ - 1) / CRYSTAL_HZ;
}

static int64_t next_second(const struct cmos *d, int64_t from_ns)
{
	return updating(d) ? (from_ns / SECOND + 1) * SECOND : RTC_NEVER;
}

static bool fits(const struct cmos *d, uint8_t index, int64_t second)
{
	uint8_t wanted = d->ram[index + 1], shown;

	return wanted >= ANY || (cmos_time(d, index, second, &shown) && shown == wanted);
}

/* Goes by hours to the right hour, by minutes to the right minute, and so on. */
static int64_t next_alarm(const struct cmos *d, int64_t from_ns)
{
	int64_t t = from_ns / SECOND + 1;
	unsigned steps;

	if (!updating(d))
		return RTC_NEVER;
	for (steps = 0; steps < 2 * (24 + 60 + 60); steps++) {
		if (!fits(d, RTC_HOURS, t))
			t += 3600 - t % 3600;
		else if (!fits(d, RTC_MINUTES, t))
			t += 60 - t % 60;
		else if (!fits(d, RTC_SECONDS, t))
			t++;
		else
			return t * SECOND;
	}
	return RTC_NEVER; /* it names no time */
}

/* ---- the three together ---- */

static const struct {
	uint8_t bit;
	int64_t (*next)(const struct cmos *d, int64_t from_ns);
} sources[] = {
    {RTC_PERIODIC, next_period},
    {RTC_ALARM, next_alarm},
    {RTC_UPDATE, next_second},
};

#define N_SOURCES (sizeof(sources) / sizeof(sources[0]))

void rtc_catch_up(struct cmos *d, int64_t now_ns)
{
	size_t i;

	for (i = 0; i < N_SOURCES; i++)
		if (!(d->ram[RTC_C] & sources[i].bit) && sources[i].next(d, d->seen_ns) <= now_ns)
			d->ram[RTC_C] |= sources[i].bit;
	d->seen_ns = now_ns; /* also where the host's clock was set back */
}

int64_t rtc_next(const struct cmos *d)
{
	int64_t first = RTC_NEVER, t;
	size_t i;

	if (rtc_line(d))
		return RTC_NEVER;
	for (i = 0; i < N_SOURCES; i++) {
		if (!(d->ram[RTC_B] & sources[i].bit))
			continue;
		t = sources[i].next(d, d->seen_ns);
		if (t < first)
			first = t;
	}
	return first;
}

bool rtc_line(const struct cmos *d)
{
	return d->ram[RTC_B] & d->ram[RTC_C] & RTC_SOURCES;
}
