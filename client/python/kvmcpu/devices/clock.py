# SPDX-License-Identifier: MIT
"""The clock of an MC146818, and the three reasons for which it interrupts.

It runs on the host's time. Nothing ticks here: flags are worked out when
somebody looks, from the moment of the last look until now, and a deadline
exists only while an enabled interrupt is to come whose flag is not up. Flags
and enabling bits have the same places in registers C and B.
"""

import math
import time

SECONDS, ALARM_SECONDS, MINUTES, ALARM_MINUTES, HOURS, ALARM_HOURS = range(6)
WEEKDAY, DAY, MONTH, YEAR, CENTURY = 0x06, 0x07, 0x08, 0x09, 0x32
REGISTER_A, REGISTER_B, REGISTER_C, REGISTER_D = range(0x0A, 0x0E)
UPDATING = 0x80  # of A
DIVIDER, DIVIDER_RUNS, RATE = 0x70, 0x20, 0x0F  # of A
SET, BINARY, HOURS_24 = 0x80, 0x04, 0x02  # of B
REQUEST, PERIODIC, ALARM, UPDATE = 0x80, 0x40, 0x20, 0x10  # of C, and enabled by B
FLAGS = PERIODIC | ALARM | UPDATE
UPDATE_ENABLE = UPDATE
DO_NOT_CARE = 0xC0  # of an alarm register: every value matches
UPDATE_S = 0.002228  # data sheet: 244 us of warning and 1984 us of update
DAY_S = 86400


class Clock:
    """Works on ram, the CMOS's bytearray; now() gives seconds since 1970."""

    def __init__(self, ram, now):
        self._ram = ram
        self._now = now
        self._looked = now()
        self._stopped_at = None  # while SET keeps the registers from changing
        self._soonest = (None, None)

    @property
    def updating(self):
        """Whether an update is near or under way, so that the time may not be read."""
        return self._runs() and self._now() % 1 > 1 - UPDATE_S

    def set(self, register_b):
        """Writes register B. SET stops the clock's registers, not its time."""
        self._ram[REGISTER_B] = register_b
        if not register_b & SET:
            self._stopped_at = None
        elif self._stopped_at is None:
            self._stopped_at = self._now()

    def read(self, index):
        """A register of the clock, coded as B says, or None if index is none."""
        t = time.gmtime(self._now() if self._stopped_at is None else self._stopped_at)
        if index == HOURS:
            return self._hour(t.tm_hour)
        fields = {SECONDS: t.tm_sec, MINUTES: t.tm_min, WEEKDAY: (t.tm_wday + 1) % 7 + 1,
                  DAY: t.tm_mday, MONTH: t.tm_mon, YEAR: t.tm_year % 100, CENTURY: t.tm_year // 100}
        return self._coded(fields[index]) if index in fields else None

    def _coded(self, value):
        return value if self._ram[REGISTER_B] & BINARY else value // 10 << 4 | value % 10

    def _hour(self, hour):
        if self._ram[REGISTER_B] & HOURS_24:
            return self._coded(hour)
        return self._coded((hour + 11) % 12 + 1) | (0x80 if hour >= 12 else 0)

    def _runs(self):
        return self._ram[REGISTER_A] & DIVIDER == DIVIDER_RUNS and self._stopped_at is None

    # Interrupts

    def advance(self):
        """Puts the flags into register C that have come up since the last look."""
        since, now = self._looked, self._now()
        self._looked = now
        # Within one second neither of the others can come up.
        flags = (PERIODIC,) if since // 1 == now // 1 else (PERIODIC, ALARM, UPDATE)
        for flag in flags:
            moment = self._next(flag, since)
            if moment is not None and moment <= now:
                self._ram[REGISTER_C] |= flag

    def deadline(self):
        """When the next enabled flag comes up, in seconds of time.monotonic(), or None."""
        if not self._ram[REGISTER_B] & ~self._ram[REGISTER_C] & FLAGS:
            return None
        # Asked before each wait, and seldom another than before.
        depends_on = (self._looked, self._stopped_at, bytes(self._ram[:REGISTER_D]))
        if self._soonest[0] != depends_on:
            self._soonest = (depends_on, self._soonest_flag())
        moment = self._soonest[1]
        return None if moment is None else time.monotonic() + moment - self._now()

    def _soonest_flag(self):
        wanted = self._ram[REGISTER_B] & ~self._ram[REGISTER_C]
        moments = (self._next(flag, self._looked) for flag in (PERIODIC, ALARM, UPDATE)
                   if wanted & flag)
        return min((moment for moment in moments if moment is not None), default=None)

    def _next(self, flag, since):
        """The first moment after since, in seconds since 1970, at which flag comes up."""
        if flag == PERIODIC:
            return self._next_period(since)
        if not self._runs():
            return None
        return math.floor(since) + 1 if flag == UPDATE else self._next_alarm(since)

    def _next_period(self, since):
        rate = self._ram[REGISTER_A] & RATE
        if not rate or self._ram[REGISTER_A] & DIVIDER != DIVIDER_RUNS:
            return None
        # 1 and 2 stand for the periods of 8 and 9.
        hertz = 32768 >> (rate + 7 if rate < 3 else rate) - 1
        return (math.floor(since * hertz) + 1) / hertz

    def _next_alarm(self, since):
        """None for an alarm that no time of day matches."""
        start = math.floor(since) + 1
        midnight = start - start % DAY_S
        choices = [self._matching(index, values) for index, values in (
            (ALARM_HOURS, {self._hour(n): n for n in range(24)}),
            (ALARM_MINUTES, {self._coded(n): n for n in range(60)}),
            (ALARM_SECONDS, {self._coded(n): n for n in range(60)}))]
        if not all(choices):
            return None
        hours, minutes, seconds = choices
        hour_starts = (day + hour * 3600 for day in (midnight, midnight + DAY_S) for hour in hours)
        minute_starts = (at + minute * 60 for at in hour_starts if at + 3600 > start
                         for minute in minutes)
        return next((at + second for at in minute_starts if at + 60 > start for second in seconds
                     if at + second >= start), None)

    def _matching(self, index, values):
        """The values, ascending, that an alarm register stands for."""
        wanted = self._ram[index]
        if wanted & DO_NOT_CARE == DO_NOT_CARE:
            return sorted(values.values())
        return [values[wanted]] if wanted in values else []
