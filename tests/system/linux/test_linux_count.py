# SPDX-License-Identifier: MIT
"""A whole boot's exits, as the daemon counts them and as the kernel's tracepoint does."""

from guest import BOOT
from devices import total
from exit_count import EVENT, Perf


def test_the_boots_exits(linux, tmp_path, tracepoint):
    guest = linux(cpus=2)
    perf = Perf(guest.daemon, tmp_path)
    perf.begin()
    guest.up()
    guest.control.pause(timeout_ms=30000)
    counted = perf.end()
    stats = guest.control.stats()
    exits = total(stats, "num_vm_exits") + total(stats, "num_vm_half_entries")
    assert exits == counted, f"kvmcpud counts {exits}, {EVENT} {counted}"
    assert exits > 500
    guest.control.resume()
    guest.console.type("poweroff\n")
    assert guest.daemon.wait(BOOT) == 0
