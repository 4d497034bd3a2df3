# SPDX-License-Identifier: MIT
"""What changed between two runs. Ratios are compared where there are any, since the
machine's speed cancels out in them; a change that both runs' spreads could hide
is marked as such."""

import json

from .report import align, met_word

HEAD = ("name", "figure", "before", "after", "change", "beyond the spread", "met")
FIGURES = ("kib", "us_more", "ratio_median", "us_median")


def load(path):
    """{name: row} of a file that tools/bench wrote. Raises ValueError if it is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return {row["name"]: row for row in json.load(file)["rows"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: no file of tools/bench: {error}") from None


def _apart(a, b):
    if not a or not b:
        return "-"
    return "yes" if a[1] < b[0] or b[1] < a[0] else "no"


def _line(name, a, b):
    if a is None or b is None:
        return (name, "-", "-", "-", "only in one", "-", "-")
    figure = next((f for f in FIGURES if a.get(f) is not None and b.get(f) is not None), None)
    met = f"{met_word(a['met'])} -> {met_word(b['met'])}"
    if figure is None:
        return (name, "-", "-", "-", "not measured", "-", met)
    change = f"{100 * (b[figure] / a[figure] - 1):+.1f} %" if a[figure] else "-"
    return (name, figure, f"{a[figure]:.3f}", f"{b[figure]:.3f}", change,
            _apart(a["spread"], b["spread"]), met)


def compare(before, after):
    """The changes between two files, as text."""
    a, b = load(before), load(after)
    names = [*a, *(name for name in b if name not in a)]
    return align([HEAD, *(_line(name, a.get(name), b.get(name)) for name in names)])
