# SPDX-License-Identifier: MIT
"""From moments to figures."""

import math
import statistics


def periods(moments):
    """Nanoseconds between neighbours; a 0 among the moments marks a gap."""
    return [b - a for a, b in zip(moments, moments[1:]) if a and b]


def rank(values, share):
    """The smallest of values that at least this share of them does not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(values):
    return statistics.median(values)


def p99(values):
    return rank(values, 0.99)


def in_us(ns):
    return None if ns is None else round(ns / 1000, 3)


def ratios(rounds, reference, figure):
    """figure(case)/figure(reference) of each round that has both."""
    return [figure(rounds[i]) / figure(reference[i]) for i in rounds.keys() & reference.keys()]


def summary(values):
    """The median and [smallest, largest] of values, or two None."""
    if not values:
        return None, None
    return round(median(values), 4), [round(min(values), 4), round(max(values), 4)]
