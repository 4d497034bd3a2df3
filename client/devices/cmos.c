/* SPDX-License-Identifier: MIT
 *
 * The MC146818's clock and 128 bytes of memory. Time is the host's in UTC, taken
 * afresh at each read and never in the middle of an update; setting it is
 * ignored. Firmware finds the size of RAM in the bytes where PCs and virtual
 * machines have always kept it. There is no alarm and no interrupt.
 */
#include "config.h"

#include "devices.h"

#include <string.h>
#include <time.h>

enum {
	SECONDS = 0x00,
	MINUTES = 0x02,
	HOURS = 0x04,
	WEEKDAY = 0x06,
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	STATUS_A = 0x0a,
	STATUS_B = 0x0b,
	STATUS_C = 0x0c,
	STATUS_D = 0x0d,
	CENTURY = 0x32,
};

#define A_DIVIDER 0x26 /* 32768 Hz, 1024 Hz rate; bit 7, update in progress, is 0 */
#define B_24_HOURS 0x02
#define B_BINARY 0x04
#define D_POWER_GOOD 0x80

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
	d->ram[STATUS_A] = A_DIVIDER;
	d->ram[STATUS_B] = B_24_HOURS;
	d->ram[STATUS_D] = D_POWER_GOOD;
	put_le(d, 0x15, 2, 640, 640);		     /* KiB below 640 KiB */
	put_le(d, 0x17, 2, above_1m >> 10, 0xffff);  /* KiB above 1 MiB */
	put_le(d, 0x30, 2, above_1m >> 10, 0xffff);  /* the same, as firmware found it */
	put_le(d, 0x34, 2, above_16m >> 16, 0xffff); /* 64 KiB above 16 MiB */
	put_le(d, 0x5b, 3, (memory_bytes - low) >> 16, 0xffffff); /* 64 KiB above 4 GiB */
}

static uint8_t encode(const struct cmos *d, int value)
{
	if (d->ram[STATUS_B] & B_BINARY)
		return (uint8_t)value;
	return (uint8_t)(value / 10 << 4 | value % 10);
}

static uint8_t encode_hours(const struct cmos *d, int hours)
{
	if (d->ram[STATUS_B] & B_24_HOURS)
		return encode(d, hours);
	return encode(d, hours % 12 == 0 ? 12 : hours % 12) | (hours >= 12 ? 0x80 : 0);
}

static uint8_t read_register(const struct cmos *d, uint8_t index)
{
	time_t now = time(NULL);
	struct tm t;

	gmtime_r(&now, &t);
	switch (index) {
	case SECONDS:
		return encode(d, t.tm_sec);
	case MINUTES:
		return encode(d, t.tm_min);
	case HOURS:
		return encode_hours(d, t.tm_hour);
	case WEEKDAY:
		return encode(d, t.tm_wday + 1);
	case DAY:
		return encode(d, t.tm_mday);
	case MONTH:
		return encode(d, t.tm_mon + 1);
	case YEAR:
		return encode(d, t.tm_year % 100);
	case CENTURY:
		return encode(d, (t.tm_year + 1900) / 100);
	default:
		return d->ram[index];
	}
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
	else if (d->index == STATUS_A)
		d->ram[STATUS_A] = value & 0x7f;
	else if (d->index != STATUS_C && d->index != STATUS_D)
		d->ram[d->index] = (uint8_t)value;
	return PC_GO_ON;
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
	};
}
