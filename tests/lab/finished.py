# SPDX-License-Identifier: MIT
"""A pytest plugin for a run whose machine may die under it: each finished test becomes a
line of the file that KVMCPUD_FINISHED names, "passed", "failed" or "skipped" and the test;
a run that finds such lines there leaves those tests out, and so goes on where the last ended.
"""

import os
import pathlib

FILE = pathlib.Path(os.environ["KVMCPUD_FINISHED"])
outcomes = {}  # of the tests that have begun and not ended


def pytest_collection_modifyitems(config, items):
    lines = FILE.read_text().splitlines() if FILE.exists() else []
    finished = {line.partition(" ")[2] for line in lines}
    left_out = [item for item in items if item.nodeid in finished]
    items[:] = [item for item in items if item.nodeid not in finished]
    config.hook.pytest_deselected(items=left_out)


def pytest_runtest_logreport(report):
    # A test is as good as the worst of setup, call and teardown.
    worst = max(outcomes.get(report.nodeid, "passed"), report.outcome,
                key=("passed", "skipped", "failed").index)
    outcomes[report.nodeid] = worst
    if report.when != "teardown":
        return
    with open(FILE, "a", encoding="utf-8") as file:  # a line is whole in the file or not there
        file.write(f"{outcomes.pop(report.nodeid)} {report.nodeid}\n")


def pytest_sessionfinish(session, exitstatus):
    """Tells the end of a run that came to it: all that was to be run has a line."""
    if exitstatus in (0, 1, 5):  # 5: nothing was left to be run
        with open(FILE, "a", encoding="utf-8") as file:
            file.write("end\n")
