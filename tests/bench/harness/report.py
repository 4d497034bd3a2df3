# SPDX-License-Identifier: MIT
"""The results as a table for people."""

from .rows import BY_NAME, KIB, MORE

HEAD = ("name", "median us", "p99 us", "ratio", "ratio p99", "spread", "reach", "met")
UNITS = {KIB: " KiB", MORE: " us more"}


def _number(value, digits=2):
    return "-" if value is None else f"{value:.{digits}f}"


def _kind(row):
    known = BY_NAME.get(row["name"])
    return known.kind if known else None


def _spread(row):
    if not row["spread"]:
        return "-"
    unit = UNITS.get(_kind(row), "" if row["reference"] else " us")
    digits = 0 if _kind(row) in UNITS else 2
    return f"{row['spread'][0]:.{digits}f}..{row['spread'][1]:.{digits}f}{unit}"


def _reach(row):
    if row["reach"] is None:
        return "-"
    kind = _kind(row)
    return f"{row['reach']:.0f}{UNITS[kind]}" if kind in UNITS else f"{row['reach']:.2f}"


def met_word(met):
    return {True: "yes", False: "NO", None: "-"}[met]


def _cells(row):
    median = f"{row['kib']:.0f} KiB" if "kib" in row else _number(row["us_median"])
    return (row["name"], median, _number(row["us_p99"]), _number(row["ratio_median"], 3),
            _number(row["ratio_p99"], 3), _spread(row), _reach(row), met_word(row["met"]))


def align(lines):
    """Lines of cells as text: the first column to the left, all others to the right."""
    widths = [max(map(len, column)) for column in zip(*lines)]
    return "\n".join("  ".join(cell.ljust(w) if i == 0 else cell.rjust(w)
                               for i, (cell, w) in enumerate(zip(line, widths))).rstrip()
                     for line in lines)


def table(rows):
    return align([HEAD, *map(_cells, rows)])


def notes(rows):
    """What the table has no room for, one sentence each."""
    for row in rows:
        if "reason" in row:
            yield f"{row['name']}: {row['reason']}"
        if "us_more" in row:
            yield f"{row['name']}: {row['us_more'] / 1000:.2f} ms more than {row['reference']}"
        if row.get("exits_per_boot"):
            yield f"{row['name']}: {row['exits_per_boot']} exits to user space a boot"
        if "missing" in row:
            yield (f"{row['name']}: the monitors saw {row['events']} events, {row['lost']} were "
                   f"reported lost, {row['missing']} neither came nor were reported")
