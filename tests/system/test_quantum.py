# SPDX-License-Identifier: MIT
"""The quantum (SEMANTICS.md S8): how far vCPUs' clocks come apart, and that nobody waits for
one that does not run.

Executing costs nothing here unless a test says otherwise, so clocks move by costs alone.
"""

import kvmcpu
import pytest
from devices import IDLE, PORT, Counter, counts, halted

from kvmcpu.schema import control as messages

BUDGET, HALT = messages.RUN_END_BUDGET, messages.RUN_END_HALT
WRITE, Q, US = 0, 1000, 10**6


class Priced(Counter):
    """Charges each vCPU another price, and notes how far clocks are apart at each access."""

    def __init__(self, *prices):
        super().__init__()
        self.prices = prices
        self.clocks = [0] * len(prices)  # behind each one's last access
        self.skew = 0

    @kvmcpu.pio_write(PORT, PORT + 63)
    def write(self, access):
        price = self.prices[access.vcpu]
        self.clocks[access.vcpu] = access.tick
        self.skew = max(self.skew, access.tick - min(self.clocks))
        self.clocks[access.vcpu] += price
        return price


@pytest.fixture
def priced(start, guest):
    """A paused guest of as many vCPUs as there are prices, each with n accesses."""
    def begin(*prices, n=0, quantum=Q, options=()):
        daemon = start(*guest("loop", "long", len(prices), PORT=PORT, KIND=WRITE, N=n), "--paused",
                       "--quantum", str(quantum), *options)
        device = Priced(*prices)
        daemon.serve(device)
        return daemon.control(), device
    return begin


@pytest.mark.parametrize("prices", [(10, 10), (10, 30), (7, 300, 11), (1500, 10)])
def test_s8_no_clock_runs_ahead(priced, prices):
    """By more than the quantum, and what one access costs: it ends beyond the slice."""
    control, device = priced(*prices)
    budget = max(100 * max(prices), 20 * Q)
    runs = control.run(budget)
    assert all(run.end == BUDGET and run.charged_ticks >= budget for run in runs)
    assert device.skew <= Q + max(prices)
    stats = control.stats().vcpus
    assert sum(vcpu.num_quantum_waits for vcpu in stats) > 0
    assert max(vcpu.max_skew_ticks for vcpu in stats) <= Q + max(prices)


def test_s8_a_halted_vcpu_holds_nobody(priced):
    """One is done with its accesses long before the other, at a fraction of its time."""
    control, device = priced(10, 1000, n=100)
    control.resume()
    status = halted(control)
    assert [vcpu.tick for vcpu in status.vcpus] == [1000, 100000]
    assert device.skew <= 100000 - 1000


def test_s8_a_paused_vcpu_holds_nobody_and_catches_up(priced):
    control, device = priced(10, 10)
    run, = control.run(50 * Q, vcpus=[1])
    assert run.charged_ticks == 50 * Q
    assert device.clocks == [0, 50 * Q]
    runs = control.run(60 * Q)
    assert [run.tick for run in runs] == [60 * Q, 110 * Q]
    before = counts(control, 2)
    for _ in range(20):  # lifting a pause again and again strands neither
        control.resume()
        control.pause()
    control.run(Q)
    assert all(now > then for now, then in zip(counts(control, 2), before))


def test_s8_with_time_measured(start, guest):
    """Two guests that make no exit are taken out of the guest at each slice's end."""
    daemon = start(*guest("spin", "user", 2), "--paused", "--clock", "monotonic", "--quantum",
                   "100us")
    control = daemon.control()
    runs = control.run(5000 * US)
    assert all(run.end == BUDGET and run.executed_ticks >= 5000 * US for run in runs)
    assert sum(vcpu.num_quantum_waits for vcpu in control.stats().vcpus) >= 10
    assert control.pause().vcpus[0].state != IDLE


def test_s8_off_by_default(start, guest):
    daemon = start(*guest("loop", "long", 2, PORT=PORT, KIND=WRITE, N=200), "--paused")
    device = Counter()
    device.ticks = 10
    daemon.serve(device)
    control = daemon.control()
    control.resume()
    halted(control)
    assert all(vcpu.num_quantum_waits == vcpu.max_skew_ticks == 0
               for vcpu in control.stats().vcpus)


@pytest.mark.parametrize("value", ["-1", "10 us", "5min", "99999999999999999999", "18446745s", ""])
def test_refused(refused, guest, value):
    refused(64, "--quantum.*give a time such as 10us", *guest("spin"), "--quantum", value)
