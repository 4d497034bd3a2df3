# SPDX-License-Identifier: MIT
"""The cases in turn, A B C A B C: the machine's speed changes by the minute, so what is
compared must be taken side by side."""

import sys

from . import figures
from .rows import KIB, MORE
from .setting import Unavailable


class Measured:
    """One row's case and what it gave: {round: values}, or the reason why not."""

    def __init__(self, row, setting):
        self.row, self.rounds, self.reason = row, {}, None
        try:
            self.case = row.make(setting)
        except Unavailable as error:
            self.case, self.reason = None, str(error)

    def measure(self, number):
        if self.case is None or (self.row.rounds is not None and number >= self.row.rounds):
            return
        try:
            self.rounds[number] = self.case.measure()
        except Unavailable as error:
            self.reason = str(error)
            self.rounds = {}
            self.close()

    def close(self):
        if self.case is not None:
            self.case.close()
            if not self.rounds:
                self.case = None


def run(rows, setting, rounds):
    """{name: Measured} after that many rounds."""
    measured = {}
    try:
        measured = {row.name: Measured(row, setting) for row in rows}
        for number in range(rounds):
            for one in measured.values():
                if sys.stderr.isatty():
                    print(f"\r\033[Kround {number + 1} of {rounds}: {one.row.name}", end="",
                          file=sys.stderr, flush=True)
                one.measure(number)
    finally:
        for one in measured.values():
            one.close()
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
    return measured


def _more(rounds, reference):
    """How many microseconds more than the reference each round took."""
    return [(figures.median(rounds[i]) - figures.median(reference[i])) / 1000
            for i in rounds.keys() & reference.keys()]


def _times(one, result):
    values = [v for part in one.rounds.values() for v in part]
    result["us_median"] = figures.in_us(figures.median(values))
    result["us_p99"] = figures.in_us(figures.p99(values))
    medians = [figures.median(part) / 1000 for part in one.rounds.values()]
    result["spread"] = figures.summary(medians)[1]


def _against(one, reference, result):
    result["ratio_median"], result["spread"] = figures.summary(
        figures.ratios(one.rounds, reference.rounds, figures.median))
    result["ratio_p99"], _ = figures.summary(
        figures.ratios(one.rounds, reference.rounds, figures.p99))


def _judge(one, reference, result):
    """The figure that the reach bounds."""
    if one.row.kind == KIB:
        values = [v for part in one.rounds.values() for v in part]
        result["kib"], result["spread"] = figures.summary(values)
        return result["kib"]
    _times(one, result)
    if reference is None or not reference.rounds:
        return None
    _against(one, reference, result)
    if one.row.kind == MORE:
        result["us_more"], result["spread"] = figures.summary(_more(one.rounds, reference.rounds))
        return result["us_more"]
    return result["ratio_median"]


def result(one, reference):
    """The row as the JSON file has it. spread is of the figure that the reach bounds; without
    a reference, of the rounds' medians, in microseconds."""
    row = one.row
    made = dict.fromkeys(("name", "us_median", "us_p99", "reference", "ratio_median", "ratio_p99",
                          "spread", "reach", "met"))
    made.update(name=row.name, reference=row.reference, reach=row.reach)
    if not one.rounds:
        made["reason"] = one.reason or "no round measured it"
        return made
    figure = _judge(one, reference, made)
    if row.reference and figure is None:
        made["reason"] = f"{row.reference} was not measured: {reference.reason}"
    tally = getattr(one.case, "tally", None)
    if tally is not None:
        made.update(tally)
    if row.reach is not None and figure is not None:
        made["met"] = figure <= row.reach and not (tally and tally.get("missing"))
    return made


def results(measured):
    return [result(one, measured.get(one.row.reference)) for one in measured.values()]
