# SPDX-License-Identifier: MIT
"""tools/bench works: it measures every row, writes the JSON that it promises, compares two
files of it, and says what is wrong with its arguments. The figures themselves are
not judged here."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).resolve().parents[2]
BENCH = [sys.executable, str(TOP / "tools" / "bench")]
KEYS = {"name", "us_median", "us_p99", "reference", "ratio_median", "ratio_p99", "spread", "reach",
        "met"}
# Other scripts know the rows by these.
NAMES = {
    "inprocess.pio.read", "unclaimed.pio", "inprocess.mmio.read", "unclaimed.mmio",
    "forwarder.same-core", "socket.c.same-core", "socket.python.same-core",
    "forwarder.cross-core", "socket.c.cross-core", "socket.python.cross-core",
    "forwarder.mmio.same-core", "socket.c.mmio.same-core", "forwarder.mmio.cross-core",
    "socket.c.mmio.cross-core", "inprocess.pio.write", "inprocess.pio.write.registers",
    "hypercall.floor", "hypercall.c", "monitors.0", "monitors.8", "start.floor",
    "start.first-instruction", "linux.qemu-microvm", "linux.qemu-pc", "linux.c", "linux.python", "memory.resident.1", "memory.resident.per-vcpu",
}
pytestmark = pytest.mark.bench


def bench(*arguments):
    return subprocess.run([*BENCH, *arguments], capture_output=True, text=True, timeout=120,
                          check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One quick run of everything: (finished process, path of its JSON)."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        pytest.skip("needs /dev/kvm, readable and writable")
    path = tmp_path_factory.mktemp("bench") / "quick.json"
    done = bench("--quick", "--json", str(path))
    assert done.returncode == 0, done.stderr
    return done, path


@pytest.fixture(scope="module")
def rows(run):
    return {row["name"]: row for row in json.loads(run[1].read_text())["rows"]}


def test_every_row_is_there_once(run, rows):
    assert set(rows) == NAMES
    assert len(json.loads(run[1].read_text())["rows"]) == len(NAMES)
    for name in NAMES:
        assert f"\n{name} " in run[0].stdout


def test_machine_says_what_figures_depend_on(run):
    machine = json.loads(run[1].read_text())["machine"]
    assert {"kernel", "cpu", "cores", "date", "kvm_module"} <= set(machine)
    assert machine["cores"] == len(os.sched_getaffinity(0))


def test_rows_have_their_shape(rows):
    for row in rows.values():
        assert KEYS <= set(row)
        assert row["met"] in (True, False, None)
        assert row["reference"] is None or row["reference"] in rows
        if "reason" in row:
            assert row["met"] is None and row["reason"]


def test_what_could_be_measured_was(rows):
    for row in rows.values():
        if "reason" in row:
            assert len(os.sched_getaffinity(0)) < 2 or "python" in row["name"], row["reason"]
        elif row["name"].startswith("memory"):
            assert row["kib"] > 0
        else:
            assert 0 < row["us_median"] <= row["us_p99"]
            low, high = row["spread"]
            assert low <= high


def test_met_follows_from_the_reach(rows):
    for row in rows.values():
        if row["reach"] is None:
            assert row["met"] is None
        elif "reason" not in row:
            figure = row.get("kib", row.get("us_more", row["ratio_median"]))
            assert row["met"] == (figure <= row["reach"] and not row.get("missing"))


def test_references_are_cheaper_than_what_is_held_against_them(rows):
    """An exit that crosses to a process and back cannot beat one that does not."""
    for name in ("forwarder.same-core", "forwarder.cross-core"):
        if "reason" not in rows[name]:
            assert rows[name]["ratio_median"] > 1


def test_monitors_account_for_every_event(rows):
    row = rows["monitors.8"]
    if "reason" not in row:
        assert row["events"] > 0
        assert row["missing"] == 0


def test_a_run_compared_with_itself_has_not_changed(run):
    done = bench("--compare", str(run[1]), str(run[1]))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + len(NAMES)
    assert all("+0.0 %" in line or "not measured" in line for line in lines[1:])


def test_a_worse_run_shows(run, tmp_path):
    data = json.loads(run[1].read_text())
    for row in data["rows"]:
        if row["name"] == "socket.c.same-core":
            row.update(ratio_median=row["ratio_median"] * 2, met=False,
                       spread=[1000.0, 1001.0])
    worse = tmp_path / "worse.json"
    worse.write_text(json.dumps(data))
    line = next(line for line in bench("--compare", str(run[1]), str(worse)).stdout.splitlines()
                if line.startswith("socket.c.same-core"))
    assert "+100.0 %" in line and "yes" in line and line.endswith("NO")


def test_unknown_row_and_unbuilt_tree_are_refused(tmp_path):
    done = bench("no.such.row")
    assert done.returncode == 64 and "no.such.row" in done.stderr
    done = bench("--compare", "/dev/null", "/dev/null")
    assert done.returncode == 64 and "/dev/null" in done.stderr
    if os.access("/dev/kvm", os.R_OK | os.W_OK):
        done = bench("--build", str(tmp_path))
        assert done.returncode == 2 and "kvmcpud" in done.stderr
