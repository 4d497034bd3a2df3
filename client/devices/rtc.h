/* SPDX-License-Identifier: MIT
 *
 * When the MC146818's three interrupts are due. Times are ns of CLOCK_REALTIME.
 * Internal to cmos.c and its caller.
 */
#ifndef KVMCPU_RTC_H
#define KVMCPU_RTC_H

#include "devices.h"

#define RTC_NEVER INT64_MAX

int64_t rtc_now(void);
/* Sets the flags of what happened up to now_ns. */
void rtc_catch_up(struct cmos *d, int64_t now_ns);
/* When next something happens that is to interrupt; RTC_NEVER. */
int64_t rtc_next(const struct cmos *d);
bool rtc_line(const struct cmos *d);
/* Bit 7 of register A: the next second begins so soon that a reader of several
 * registers may see two. */
bool rtc_updates(const struct cmos *d, int64_t now_ns);

/* How a register shows the time t; false if it shows no time. cmos.c's. */
bool cmos_time(const struct cmos *d, uint8_t index, int64_t t, uint8_t *ret);

enum {
	RTC_SECONDS = 0x00,
	RTC_SECONDS_ALARM = 0x01,
	RTC_MINUTES = 0x02,
	RTC_MINUTES_ALARM = 0x03,
	RTC_HOURS = 0x04,
	RTC_HOURS_ALARM = 0x05,
	RTC_WEEKDAY = 0x06,
	RTC_DAY = 0x07,
	RTC_MONTH = 0x08,
	RTC_YEAR = 0x09,
	RTC_A = 0x0a,
	RTC_B = 0x0b,
	RTC_C = 0x0c,
	RTC_D = 0x0d,
};

#define RTC_B_SET 0x80
#define RTC_PERIODIC 0x40 /* these three in B, enabled, and in C, pending */
#define RTC_ALARM 0x20
#define RTC_UPDATE 0x10
#define RTC_SOURCES 0x70
#define RTC_C_IRQ 0x80

#endif
