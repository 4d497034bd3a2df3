# SPDX-License-Identifier: MIT
"""The worked example of a scheduler, client/python/examples/event_loop.py, as a user runs it:
its events come out in order, and at the same times in every run.
"""

import re
import subprocess
import sys

from harness import DEADLINE, ROOT, environment

EXAMPLE = ROOT / "client" / "python" / "examples" / "event_loop.py"
GUEST = bytes.fromhex("e461 e660 f4 ebf9")  # as the example's text says
UNTIL = 200  # us


def events(start, directory):
    """The times in us and the names of what happened up to UNTIL."""
    (directory / "kvmcpud").mkdir(parents=True)
    (directory / "guest.bin").write_bytes(GUEST)
    daemon = start("--image", f"{directory / 'guest.bin'}@0x1000", "--entry", "0x1000", "--paused",
                   runtime_dir=directory / "kvmcpud")
    done = subprocess.run([sys.executable, EXAMPLE, daemon.name, str(UNTIL)], text=True,
                          capture_output=True, timeout=DEADLINE,
                          env=environment(XDG_RUNTIME_DIR=str(directory)))
    assert done.returncode == 0, done.stderr
    return [(float(when), what)
            for when, what in re.findall(r"^ *([\d.]+) us  (.*)$", done.stdout, re.M)]


def test_events_come_in_order_and_reproducibly(start, tmp_path):
    first = events(start, tmp_path / "1")
    times = [when for when, _ in first]
    assert times == sorted(times)
    assert [when for when, what in first if what == "timer"] == list(range(10, UNTIL + 1, 10))
    # The clock is read at 0, which takes 0.5 us, and the command takes 8 from there.
    assert first[0] == (8.5, "disk has done command 0")
    assert sum(what.startswith("disk") for _, what in first) > UNTIL / 10
    assert events(start, tmp_path / "2") == first
