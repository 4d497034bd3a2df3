# SPDX-License-Identifier: MIT
"""What a VM costs besides its guest's RAM, by the figures that the design promises: memory
resident when rings and buffers have been used, and time until the first guest
instruction.
"""

import pathlib
import re

from devices import PORT, Counter, counts, halted
from harness import LONG, SLOWNESS, load

MIB = 1 << 20
FIRST, EACH = 8 * MIB, MIB
START_NS = 10_000_000 * SLOWNESS
RAM = "/memfd:kvmcpud-ram"
WRITE = 0
# Events of some 70 bytes: more than may be resident for a vCPU, or at least its ring full.
N = load(20_000, least=8_000)


def resident(pid):
    """Bytes of the process in memory, its guest's RAM not among them."""
    total, counted = 0, False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            counted = RAM not in line
        elif counted and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


def used(start, guest, vcpus):
    """A VM after its vCPUs have filled their rings, with a device and a monitor."""
    daemon = start(*guest("loop", cpus=vcpus, PORT=PORT, STRIDE=1, KIND=WRITE, N=N), "--paused")
    assert RAM in pathlib.Path(f"/proc/{daemon.pid}/smaps").read_text()
    control, counter = daemon.control(), Counter()
    daemon.serve(counter, vcpus=[0])
    daemon.monitor()
    control.resume()
    halted(control, LONG)
    assert counts(control, vcpus) == [N] * vcpus and counter.total == N
    size = resident(daemon.pid)
    daemon.stop()
    return size


def test_memory(start, guest):
    one, nine = used(start, guest, 1), used(start, guest, 9)
    assert one <= FIRST, f"{one / MIB:.2f} MiB"
    assert nine - one <= 8 * EACH, f"{(nine - one) / 8 / MIB:.2f} MiB for each further vCPU"


def test_start(start, guest):
    """From main() to the first entry, the best of five: the machine may be busy. The figure's
    reference, an empty program with KVM, is part of this time and not taken off."""
    options = [*guest("loop", PORT=PORT, KIND=WRITE, N=1), "--memory", "128M"]
    times = []
    for _ in range(5):
        daemon = start(*options)
        status = halted(daemon.control())
        times.append(status.vcpus[0].first_entry_ns - status.started_ns)
        daemon.stop()
    assert 0 < min(times) <= START_NS, times
