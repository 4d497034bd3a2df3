/* SPDX-License-Identifier: MIT
 *
 * The MC146818's clock and 128 bytes of memory. Time is the host's in UTC, taken
 * afresh at each read; setting it is ignored, but the SET bit holds it for as long
 * as it is set. Firmware finds the size of RAM in the bytes where PCs and virtual
 * machines have always kept it. The interrupts are rtc.c's.
 */
#include "config.h"

#include "devices.h"
#include "rtc.h"

#include <string.h>
#include <time.h>

#define CENTURY 0x32

#define A_KEPT 0x7f    /* bit 7 is read-only */
#define A_DIVIDER 0x26 /* 32768 Hz, 1024 Hz rate */
#define B_24_HOURS 0x02
#define B_BINARY 0x04
#define D_POWER_GOOD 0x80

#define GSI 8

#define LOW_RAM_END (3ull << 30) /* where kvmcpud continues RAM at 4 GiB */

static void put_le(struct cmos *d, unsigned index, unsigned bytes, uint64_t value, uint64_t max)
{
	unsigned i;

	if (value > max)
		value = max;
	for (i = 0; i < bytes; i++)
		d->ram[index + i] = (uint8_t)(value >> (8 * i));
}

void cmos_init(struct cmos *d, uint64_t memory_bytes)
{
	uint64_t low = memory_bytes < LOW_RAM_END ? memory_bytes : LOW_RAM_END;
	uint64_t above_1m = low > (1 << 20) ? low - (1 << 20) : 0;
	uint64_t above_16m = low > (16 << 20) ? low - (16 << 20) : 0;

	memset(d, 0, sizeof(*d));
	d->seen_ns = rtc_now();
	d->due_ns = RTC_NEVER;
	d->ram[RTC_A] = A_DIVIDER;
	d->ram[RTC_B] = B_24_HOURS;
	d->ram[RTC_D] = D_POWER_GOOD;
	put_le(d, 0x15, 2, 640, 640);		     /* KiB below 640 KiB */
	put_le(d, 0x17, 2, above_1m >> 10, 0xffff);  /* KiB above 1 MiB */
	put_le(d, 0x30, 2, above_1m >> 10, 0xffff);  /* the same, as firmware found it */
	put_le(d, 0x34, 2, above_16m >> 16, 0xffff); /* 64 KiB above 16 MiB */
	put_le(d, 0x5b, 3, (memory_bytes - low) >> 16, 0xffffff); /* 64 KiB above 4 GiB */
}

static uint8_t encode(const struct cmos *d, int value)
{
	if (d->ram[RTC_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static uint8_t encode_hours(const struct cmos *d, int hours)
{
	if (d->ram[RTC_B] & B_24_HOURS)
		return encode(d, hours);
	return encode(d, hours % 12 == 0 ? 12 : hours % 12) | (hours >= 12 ? 0x80 : 0);
}

bool cmos_time(const struct cmos *d, uint8_t index, int64_t second, uint8_t *ret)
{
	time_t now = (time_t)second;
	struct tm t;

	gmtime_r(&now, &t);
	switch (index) {
	case RTC_SECONDS:
		*ret = encode(d, t.tm_sec);
		return true;
	case RTC_MINUTES:
		*ret = encode(d, t.tm_min);
		return true;
	case RTC_HOURS:
		*ret = encode_hours(d, t.tm_hour);
		return true;
	case RTC_WEEKDAY:
		*ret = encode(d, t.tm_wday + 1);
		return true;
	case RTC_DAY:
		*ret = encode(d, t.tm_mday);
		return true;
	case RTC_MONTH:
		*ret = encode(d, t.tm_mon + 1);
		return true;
	case RTC_YEAR:
		*ret = encode(d, t.tm_year % 100);
		return true;
	case CENTURY:
		*ret = encode(d, (t.tm_year + 1900) / 100);
		return true;
	default:
		return false;
	}
}

static uint8_t read_flags(struct cmos *d)
{
	uint8_t value = d->ram[RTC_C] & RTC_SOURCES;

	if (rtc_line(d))
		value |= RTC_C_IRQ;
	d->ram[RTC_C] = 0;
	return value;
}

static uint8_t read_register(struct cmos *d, uint8_t index)
{
	int64_t now = rtc_now();
	uint8_t value;

	rtc_catch_up(d, now);
	if (index == RTC_A)
		return d->ram[RTC_A] | (rtc_updates(d, now) ? 0x80 : 0);
	if (index == RTC_C)
		return read_flags(d);
	if (!(d->ram[RTC_B] & RTC_B_SET) && cmos_time(d, index, now / 1000000000, &value))
		return value;
	return d->ram[index];
}

/* The registers show the time they were held at until they are let go. */
static void hold_time(struct cmos *d, int64_t now)
{
	uint8_t i;

	for (i = RTC_SECONDS; i <= CENTURY; i++)
		cmos_time(d, i, now / 1000000000, &d->ram[i]);
}

static void write_b(struct cmos *d, uint8_t value, int64_t now)
{
	if (value & ~d->ram[RTC_B] & RTC_B_SET)
		hold_time(d, now);
	/* Held, it has no updates to tell of (the data sheet's rule). */
	d->ram[RTC_B] = value & RTC_B_SET ? value & (uint8_t)~RTC_UPDATE : value;
}

static void write_register(struct cmos *d, uint8_t index, uint8_t value)
{
	int64_t now = rtc_now();

	rtc_catch_up(d, now); /* with the settings as they were */
	if (index == RTC_A)
		d->ram[RTC_A] = value & A_KEPT;
	else if (index == RTC_B)
		write_b(d, value, now);
	else if (index != RTC_C && index != RTC_D)
		d->ram[index] = value;
}

static uint32_t cmos_read(void *state, uint16_t port)
{
	struct cmos *d = state;

	/* The index register cannot be read on a PC. */
	return port == 0x71 ? read_register(d, d->index) : 0xff;
}

static enum pc_outcome cmos_write(void *state, uint16_t port, uint32_t value)
{
	struct cmos *d = state;

	if (port == 0x70)
		d->index = value & 0x7f; /* bit 7 masks NMI, which nothing here raises */
	else
		write_register(d, d->index, (uint8_t)value);
	return PC_GO_ON;
}

static int cmos_finish(void *state)
{
	struct cmos *d = state;

	d->due_ns = rtc_next(d);
	return 0;
}

bool cmos_timer(struct cmos *d)
{
	if (d->due_ns == RTC_NEVER || cmos_timeout_ns(d) > 0)
		return false;
	rtc_catch_up(d, rtc_now());
	d->due_ns = rtc_next(d);
	return true;
}

uint64_t cmos_timeout_ns(const struct cmos *d)
{
	int64_t now;

	if (d->due_ns == RTC_NEVER)
		return UINT64_MAX;
	now = rtc_now();
	return d->due_ns > now ? (uint64_t)(d->due_ns - now) : 0;
}

static bool cmos_line(const void *state)
{
	return rtc_line(state);
}

#define SAVED (8 + 128)

static void cmos_save(const void *state, uint8_t *ret)
{
	const struct cmos *d = state;

	memset(ret, 0, 8);
	ret[0] = d->index;
	memcpy(ret + 8, d->ram, sizeof(d->ram));
}

static void cmos_load(void *state, const uint8_t *saved)
{
	struct cmos *d = state;

	d->index = saved[0] & 0x7f;
	memcpy(d->ram, saved + 8, sizeof(d->ram));
	d->due_ns = rtc_next(d);
}

struct pc_device cmos_device(struct cmos *d)
{
	return (struct pc_device){
	    .name = "cmos",
	    .ports = {{0x70, 0x71}},
	    .sizes = PC_BYTES,
	    .state = d,
	    .read = cmos_read,
	    .write = cmos_write,
	    .finish = cmos_finish,
	    .line = cmos_line,
	    .gsi = GSI,
	    .sections = {{"cmos", SAVED, cmos_save, cmos_load}},
	};
}
