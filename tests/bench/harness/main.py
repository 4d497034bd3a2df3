# SPDX-License-Identifier: MIT
"""The command line of tools/bench."""

import argparse
import json
import os
import signal
import sys

from . import compare, machine, report, rows, turns
from .setting import TOP, Setting

OK, MISSED, NOT_BUILT, USAGE, NO_KVM = 0, 1, 2, 64, 69
ROUNDS, EXITS = 60, 500  # picked: many short rounds, since the machine changes speed in between
QUICK_ROUNDS, QUICK_EXITS = 2, 300

EPILOG = """\
A row is named as the table shows it; "socket" or "socket.c.*" stand for several. What a
row is held against is measured with it, in turn.

Exit status: 0 it ran, 1 a reach was missed (with --strict only), 2 not built, 64 usage,
69 no usable /dev/kvm."""


def parse(argv):
    parser = argparse.ArgumentParser(
        prog="tools/bench", description="Measures kvmcpud beside its references, case by case "
        "in turn, and prints a table.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="only these (default: all)")
    parser.add_argument("--json", metavar="FILE", help="write the results here as well")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"default: {ROUNDS}")
    parser.add_argument("--exits", type=int, metavar="N",
                        help=f"exits of each case in a round (default: {EXITS})")
    parser.add_argument("--quick", action="store_true",
                        help=f"{QUICK_ROUNDS} rounds of {QUICK_EXITS} exits: shows that it works")
    parser.add_argument("--strict", action="store_true", help="status 1 if a reach is missed")
    parser.add_argument("--build", metavar="DIR", default=os.environ.get("KVMCPUD_BUILD"),
                        help="the build tree (default: $KVMCPUD_BUILD or build/)")
    parser.add_argument("--compare", nargs=2, metavar=("BEFORE", "AFTER"),
                        help="show what changed between two files of --json; measure nothing")
    parser.add_argument("--list", action="store_true", help="print the rows' names")
    try:
        return parser.parse_args(argv)
    except SystemExit as end:
        raise SystemExit(USAGE if end.code else OK) from None


def _kvm_problem():
    if not os.path.exists("/dev/kvm"):
        return "/dev/kvm is missing: load kvm_intel or kvm_amd, or enable virtualization"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "no permission for /dev/kvm: join the group that owns it"
    return None


def _say(text):
    print(f"tools/bench: {text}", file=sys.stderr)


def _measure(options, chosen, setting):
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    about = machine.describe(setting, rounds)
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    found = turns.results(turns.run(chosen, setting, rounds))
    print(report.table(found))
    for note in report.notes(found):
        print(note)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": about, "rows": found}, file, indent=1)
            file.write("\n")
    missed = any(row["met"] is False for row in found)
    return MISSED if missed and options.strict else OK


def _end(number, frame):
    sys.exit(128 + number)


def main(argv=None):
    options = parse(argv)
    try:
        if options.compare:
            print(compare.compare(*options.compare))
            return OK
        chosen = rows.choose(options.rows)
        if min(options.rounds or 1, options.exits or 1) < 1:
            raise ValueError("--rounds and --exits are 1 or more")
    except ValueError as error:
        _say(error)
        return USAGE
    if options.list:
        print("\n".join(row.name for row in chosen))
        return OK
    problem = _kvm_problem()
    if problem:
        _say(problem)
        return NO_KVM
    # A daemon must not outlive its bench: end by way of every finally.
    signal.signal(signal.SIGTERM, _end)
    setting = Setting(options.build or TOP / "build",
                      options.exits or (QUICK_EXITS if options.quick else EXITS))
    try:
        missing = setting.missing()
        if missing:
            _say(f"not built: {', '.join(missing)}; build first, as README says, or by tools/check")
            return NOT_BUILT
        return _measure(options, chosen, setting)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        setting.close()
