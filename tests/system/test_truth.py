# SPDX-License-Identifier: MIT
"""The daemon's counts against two that it has no hand in: the guest's own, and the
kernel's tracepoint for returns to user space.

kvm_userspace_exit fires once for every KVM_RUN that ends, by whatever. The daemon
counts those that may run the guest in num_vm_exits, ended by a kick or not, and
those that only complete an access in num_vm_half_entries: the sum is the
kernel's.
"""

import pytest
from devices import PORT, STOP, Counter, counts, halted, total
from perf import Perf

KINDS = {"outl": 0, "inl": 1, "mmio write": 2, "mmio read": 3}
MMIO = 0xD0000000
N = 500


# Real mode's 32-bit addresses end at 64 KiB, where RAM is: no MMIO there.
CASES = [("real", 1, kind) for kind in ("outl", "inl")] + [
    (mode, vcpus, kind) for mode, vcpus in (("protected", 1), ("long", 2), ("user", 2))
    for kind in KINDS]


@pytest.mark.parametrize("mode, vcpus, kind", CASES)
def test_counts_equal_the_guests_own(start, guest, mode, vcpus, kind):
    """With nobody attached at all: unclaimed accesses count as well."""
    mmio = kind.startswith("mmio")
    daemon = start(*guest("loop", mode, vcpus, PORT=MMIO if mmio else PORT, KIND=KINDS[kind], N=N))
    control = daemon.control()
    halted(control)
    stats = control.stats()
    assert counts(control, vcpus) == [N] * vcpus
    for vcpu in stats.vcpus:
        assert (vcpu.num_mmio, vcpu.num_io) == ((N, 0) if mmio else (0, N))
        assert vcpu.num_unclaimed == N
        assert vcpu.num_halt == 1
        assert vcpu.num_vm_exits == N + 1 + vcpu.num_exit_signal
        assert vcpu.io_bytes == (0 if mmio else 4 * N)


@pytest.mark.parametrize("mode, pauses", [("long", 0), ("user", 0), ("long", 100)])
def test_counts_equal_the_kernels_own(start, guest, tmp_path, tracepoint, mode, pauses):
    """To the last one, with a device that answers, and with pauses that complete accesses."""
    daemon = start(*guest("loop", mode, 2, PORT=PORT, KIND=0, N=0 if pauses else N), "--paused")
    counter, control = Counter(), daemon.control()
    daemon.serve(counter)
    perf = Perf(daemon, tmp_path)
    perf.begin()
    before = control.stats()
    control.resume()
    for _ in range(pauses):
        control.pause()
        control.resume()
    control.write_memory(STOP, b"\1")
    halted(control)
    counted, after = perf.end(), control.stats()
    exits = total(after, "num_vm_exits") - total(before, "num_vm_exits")
    halves = total(after, "num_vm_half_entries") - total(before, "num_vm_half_entries")
    assert counted == exits + halves
    assert bool(pauses) == bool(halves)
    done = sum(counts(control, 2))
    assert done == counter.total == total(after, "num_io")
    assert exits == done + 2 + total(after, "num_exit_signal")
