# SPDX-License-Identifier: MIT
"""The clock's three interrupts, counted by the guest and held against the host's time."""

import time

import pc
import pytest
from devices import RESULTS, counts
from harness import DEADLINE, SLOWNESS, eventually

PERIODIC, ALARM, UPDATE = 0x40, 0x20, 0x10


@pytest.fixture
def clock(start, guest):
    """Runs the guest "rtc" to its count; seconds, and how often each flag was set."""
    def run(rate, enable, count):
        daemon = start(*guest("rtc", RATE=rate, ENABLE=enable, COUNT=count), "--irqchip", "kernel",
                       "--paused")
        control = daemon.control()
        pc.spawn(daemon)
        began = time.monotonic()
        control.resume()
        eventually("as many interrupts", lambda: counts(control)[0] == 1, DEADLINE)
        took = time.monotonic() - began
        flags = counts(control, 8, RESULTS)
        # Disabled, it is quiet: nothing more arrives, and nobody polls for it.
        exits = control.status().vcpus[0].exit_seq
        seen = counts(control, address=0x9200)[0]
        assert seen == count
        control.ping()
        assert control.status().vcpus[0].exit_seq == exits
        return took, {1 << bit: number for bit, number in enumerate(flags)}

    return run


@pytest.mark.parametrize("rate, hz, count", [(6, 1024, 400), (10, 64, 40), (15, 2, 3), (1, 256, 50)])
def test_periodic(clock, rate, hz, count):
    took, flags = clock(rate, PERIODIC, count)
    assert flags[PERIODIC] == flags[0x80] == count
    # The first period may have begun before; a late one is not made up for.
    assert (count - 1) / hz <= took + 0.001 < (count / hz * 3 + 2) * SLOWNESS


@pytest.mark.parametrize("source", [UPDATE, ALARM])
def test_every_second(clock, source):
    took, flags = clock(0, source, 2)
    assert flags[source] == flags[0x80] == 2 and flags[PERIODIC] == 0
    assert 1.0 <= took < 4 * SLOWNESS
