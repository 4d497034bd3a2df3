# SPDX-License-Identifier: MIT
"""The RTC's interrupts, on a clock that the test moves."""

import calendar
import time

import pytest
from bus import Bus
from kvmcpu.devices import Cmos

A, B, C = 0x0A, 0x0B, 0x0C
PERIODIC, ALARM, UPDATE = 0x40, 0x20, 0x10
BCD_24 = 0x02
LINE = 8


class Rtc(Bus):
    """A CMOS whose host's clock stands at `at`, seconds since 1970."""

    def __init__(self, when=(2031, 12, 7, 23, 59, 8)):
        self.at = calendar.timegm(when)
        self.cmos = Cmos(0, now=lambda: self.at)
        super().__init__(self.cmos)

    def get(self, index):
        self.write(0x70, index)
        return self.read(0x71)

    def put(self, index, value):
        self.write(0x70, index)
        self.write(0x71, value)

    def go(self, seconds):
        """Lets time pass, and the server look if it is to by then."""
        due = self.cmos.deadline()
        self.at += seconds
        if due is not None and due <= time.monotonic() + seconds:
            self.expire()


@pytest.fixture
def rtc():
    made = Rtc()
    made.get(C)
    return made


def test_nothing_is_waited_for_at_first(rtc):
    assert rtc.cmos.deadline() is None


@pytest.mark.parametrize("rate, hertz", [(1, 256), (2, 128), (3, 8192), (6, 1024), (13, 8),
                                         (15, 2)])
def test_periodic_rates(rtc, rate, hertz):
    rtc.put(A, 0x20 | rate)
    rtc.put(B, BCD_24 | PERIODIC)
    assert rtc.cmos.deadline() - time.monotonic() == pytest.approx(1 / hertz, abs=0.05)
    interrupts = 0
    for _ in range(4 * hertz):
        rtc.go(0.5 / hertz)
        if rtc.lines.get(LINE):
            interrupts += 1
            assert rtc.cmos.deadline() is None  # until it is seen, no other can come
            assert rtc.get(C) & 0xC0 == 0xC0
            assert not rtc.lines[LINE]
    assert interrupts == pytest.approx(2 * hertz, abs=1)


@pytest.mark.parametrize("register_a", [0x20, 0x76, 0x06])
def test_no_periodic_interrupt_without_rate_or_divider(rtc, register_a):
    rtc.put(A, register_a)
    rtc.put(B, BCD_24 | PERIODIC)
    assert rtc.cmos.deadline() is None


def test_update_ended(rtc):
    rtc.put(B, BCD_24 | UPDATE)
    rtc.go(0.5)
    assert not rtc.changes
    rtc.go(0.5)
    assert rtc.changes == [(LINE, True)]
    assert rtc.get(C) & ~PERIODIC == 0x90
    assert rtc.changes == [(LINE, True), (LINE, False)]
    assert rtc.get(C) == 0


@pytest.mark.parametrize("register_b, hour, minute, second, expected", [
    (0x02, 0x23, 0x59, 0x09, 1), (0x02, 0x00, 0x00, 0x00, 52), (0x02, 0xFF, 0xFF, 0xFF, 1),
    (0x02, 0xC0, 0xC0, 0x30, 22), (0x02, 0xFF, 0x01, 0x00, 112), (0x02, 0x23, 0x59, 0x08, 86400),
    (0x06, 23, 59, 10, 2), (0x00, 0x91, 0x59, 0x10, 2), (0x04, 0x8B, 59, 10, 2),
    (0x00, 0x12, 0x00, 0x01, 53), (0x02, 0x99, 0x00, 0x00, None), (0x02, 0x00, 0x0A, 0, None)])
def test_alarm(rtc, register_b, hour, minute, second, expected):
    rtc.put(B, register_b)
    for index, value in ((5, hour), (3, minute), (1, second)):
        rtc.put(index, value)
    rtc.get(C)
    rtc.put(B, register_b | ALARM)
    if expected is None:
        assert rtc.cmos.deadline() is None
        return
    assert rtc.cmos.deadline() - time.monotonic() == pytest.approx(expected, abs=0.05)
    rtc.go(expected - 1)
    assert not rtc.changes
    rtc.go(1)
    assert rtc.changes == [(LINE, True)]
    assert rtc.get(C) & 0xA0 == 0xA0


def test_flags_come_up_without_being_enabled(rtc):
    rtc.go(1)
    assert rtc.get(C) == PERIODIC | UPDATE
    assert rtc.get(C) == 0
    assert not rtc.changes


def test_enabling_what_has_come_up_raises_the_line_at_once(rtc):
    rtc.go(1)
    rtc.put(B, BCD_24 | UPDATE)
    assert rtc.lines == {LINE: True}
    rtc.put(B, BCD_24)
    assert rtc.lines == {LINE: False}
    assert rtc.get(C) == PERIODIC | UPDATE


def test_set_stops_the_registers_and_their_interrupts(rtc):
    rtc.put(B, BCD_24 | UPDATE | 0x80)
    assert rtc.get(B) == BCD_24 | 0x80
    rtc.go(5)
    assert (rtc.get(0), rtc.get(C) & UPDATE) == (0x08, 0)
    rtc.put(B, BCD_24)
    assert rtc.get(0) == 0x13


def test_update_in_progress(rtc):
    assert rtc.get(A) == 0x26
    rtc.go(0.999)
    assert rtc.get(A) == 0xA6
    rtc.go(0.001)
    assert rtc.get(A) == 0x26
    rtc.put(B, BCD_24 | 0x80)
    rtc.go(0.999)
    assert rtc.get(A) == 0x26


def test_what_outlasts_the_process(rtc):
    rtc.put(0x40, 0x5A)
    rtc.put(B, BCD_24 | UPDATE)
    rtc.go(1)
    saved = rtc.cmos.save()
    assert len(saved["cmos"]) == 136 and saved["cmos"][8 + C] & 0x90 == 0x90
    successor = Rtc()
    successor.take(successor.cmos.restore(saved))
    assert successor.changes == [(LINE, True)]
    assert (successor.read(0x71), successor.get(0x40)) == (BCD_24 | UPDATE, 0x5A)
    assert successor.get(C) & 0x90 == 0x90
    with pytest.raises(ValueError):
        successor.cmos.restore({"cmos": bytes(135)})
