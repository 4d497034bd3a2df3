# SPDX-License-Identifier: MIT
"""Accesses of every size, direction and mode: what the guest wrote is what the device
saw, and what the device answered is what the guest found in its registers.

The guests read a register, keep it in RAM, and write the same value back.
"""

import struct

import kvmcpu
import pytest
from devices import RESULTS, SOURCE, TARGET, all_in, counts, halted, IDLE, STOPPED
from guests import EVERY_MODE
from harness import GUEST, LONG, PROMPT, load

from kvmcpu.schema import exit_

PORT, MMIO = 0x5A0, 0xD0000000
REAL_MMIO = 0x100000  # behind 1 MiB of RAM, within reach of real mode's %es = 0xffff
PATTERN = 0xF1E2D3C4B5A69788
MANY = load(4999, least=1499)  # 4 bytes each are more than KVM's page for them
UNTOUCHED = 0x55555555  # what the guest has in %eax before a narrow read


class Mirror(kvmcpu.Device):
    """Reads give the low bytes of PATTERN; everything is noted as (kind, size, value)."""

    def __init__(self):
        self.reads, self.writes = [], []

    @kvmcpu.pio_read(PORT)
    @kvmcpu.mmio_read(MMIO)
    @kvmcpu.mmio_read(REAL_MMIO)
    def read(self, access):
        self.reads.append((access.kind, access.size))
        return PATTERN & (1 << 8 * access.size) - 1

    @kvmcpu.pio_write(PORT)
    @kvmcpu.mmio_write(MMIO)
    @kvmcpu.mmio_write(REAL_MMIO)
    def write(self, access):
        self.writes.append((access.kind, access.size, access.value))


def low(size):
    return PATTERN & (1 << 8 * size) - 1


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_every_size_and_direction(start, guest, mode):
    real = mode == "real"
    sizes = [("pio", 1), ("pio", 2), ("pio", 4), ("mmio", 1), ("mmio", 2), ("mmio", 4)]
    if mode in ("long", "user"):
        sizes.append(("mmio", 8))
    daemon = start(*guest("sizes", mode, PORT=PORT, MMIO=REAL_MMIO if real else MMIO),
                   "--memory", "1M", "--paused")
    mirror, control = Mirror(), daemon.control()
    daemon.serve(mirror)
    control.resume()
    halted(control)

    assert mirror.reads == sizes
    assert mirror.writes == [(kind, size, low(size)) for kind, size in sizes]
    kept = struct.unpack(f"<{len(sizes)}Q", control.read_memory(RESULTS, 8 * len(sizes)))
    for (kind, size), found in zip(sizes, kept):
        rest = UNTOUCHED & ~((1 << 8 * size) - 1)
        assert found == low(size) | rest, f"{kind} of {size} bytes: the guest has {found:#x}"
    stats = control.stats().vcpus[0]
    assert (stats.num_io, stats.num_mmio) == (6, 2 * (len(sizes) - 3))
    assert stats.io_bytes == 2 * (1 + 2 + 4)
    assert counts(control) == [1]


class Stream(kvmcpu.Device):
    """One port that takes a stream of bytes, and gives another."""

    def __init__(self, source):
        self.source, self.taken, self.given, self.elements = source, bytearray(), 0, []

    @kvmcpu.pio_write(PORT, whole=True)
    def write(self, access):
        self.taken += access.data
        self.elements.append(access.count)
        return access.count  # a tick for each element

    @kvmcpu.pio_read(PORT, whole=True)
    def read(self, access):
        start, self.given = self.given, self.given + access.size * access.count
        self.elements.append(access.count)
        return self.source[start:self.given], access.count


@pytest.mark.parametrize("mode", EVERY_MODE)
@pytest.mark.parametrize("size, count", [(1, 100), (2, 100), (4, 100), (1, MANY),
                                         (4, MANY)])
def test_string_io(start, guest, tmp_path, mode, size, count):
    """Both ways, as many elements at a time as KVM likes, none lost and none doubled."""
    written = bytes((7 * i ^ i >> 8) & 0xFF for i in range(size * count))
    read = bytes((11 * i + (i >> 8)) & 0xFF for i in range(size * count))
    (tmp_path / "pattern").write_bytes(written)
    daemon = start(*guest("string", mode, PORT=PORT, SIZE=size, COUNT=count), "--paused",
                   "--image", f"{tmp_path / 'pattern'}@{SOURCE:#x}")
    stream, control = Stream(read), daemon.control()
    daemon.serve(stream)
    control.resume()
    status = halted(control, timeout=LONG)

    assert stream.taken == written
    assert control.read_memory(TARGET, len(read)) == read
    assert stream.given == len(read)
    assert control.read_memory(TARGET + len(read), 16) == bytes(16), "more than was asked for"
    stats = control.stats().vcpus[0]
    assert sum(stream.elements) == 2 * count == status.vcpus[0].tick == stats.ticks_charged
    assert stats.num_io == len(stream.elements)
    assert stats.io_bytes == 2 * size * count


def test_bus_error_gives_all_ones_and_is_counted(start, guest):
    class Refusing(kvmcpu.Device):
        @kvmcpu.pio_read(PORT)
        @kvmcpu.mmio_read(MMIO)
        def read(self, access):
            return kvmcpu.Reply(bus_error=True, ticks=3)

        @kvmcpu.pio_write(PORT)
        @kvmcpu.mmio_write(MMIO)
        def write(self, access):
            return kvmcpu.Reply(bus_error=True)

    daemon = start(*guest("sizes", PORT=PORT, MMIO=MMIO), "--paused")
    monitor, control = daemon.monitor(kinds=["pio"], states=False), daemon.control()
    daemon.serve(Refusing())
    control.resume()
    halted(control)
    kept = struct.unpack("<7Q", control.read_memory(RESULTS, 56))
    assert kept == (0x555555FF, 0x5555FFFF, 0xFFFFFFFF) * 2 + (2**64 - 1,)
    claims = {claim.first: claim for claim in control.stats().claims}
    assert (claims[PORT].bus_errors, claims[MMIO].bus_errors) == (6, 8)
    assert (claims[PORT].reads, claims[PORT].writes, claims[PORT].ticks_charged) == (3, 3, 9)
    for _ in range(6):
        assert next(monitor).exit.reply.status == exit_.REPLY_STATUS_BUS_ERROR


def test_unclaimed_reads_all_ones_and_is_counted(start, guest):
    daemon = start(*guest("sizes", PORT=PORT, MMIO=MMIO))
    control = daemon.control()
    halted(control)
    kept = struct.unpack("<7Q", control.read_memory(RESULTS, 56))
    assert kept == (0x555555FF, 0x5555FFFF, 0xFFFFFFFF) * 2 + (2**64 - 1,)
    assert control.stats().vcpus[0].num_unclaimed == 14
    assert control.stats().vcpus[0].num_vm_exits == 15


def test_strict_stops_there(start, guest):
    """The vCPU stops with its reason, the daemon goes on, and says 79 when it ends."""
    daemon = start(*guest("sizes", PORT=PORT, MMIO=MMIO), "--strict")
    control = daemon.control()
    vcpu = control.wait_until(all_in(STOPPED, IDLE)).vcpus[0]
    assert vcpu.state == STOPPED
    assert "nobody claims" in vcpu.stop_reason and f"{PORT:#x}" in vcpu.stop_reason
    assert counts(control) == [0] and control.stats().vcpus[0].num_unclaimed == 1
    assert control.ping() < PROMPT
    daemon.stop(expect=GUEST)
    assert "nobody claims" in daemon.stderr


@pytest.mark.parametrize("name, why", [("sizes", "nobody claims"), ("triple", "shutdown")])
def test_exit_on_failure_ends_by_itself(start, guest, name, why):
    daemon = start(*guest(name, PORT=PORT, MMIO=MMIO), "--strict", "--exit-on-failure", wait=False)
    daemon.ended(expect=GUEST)
    assert why in daemon.stderr


def test_a_fatal_exit_carries_the_whole_state(start, guest):
    """As far as KVM still has it: where it resets a vCPU that shuts down, the daemon says so."""
    daemon = start(*guest("triple"), "--paused")
    monitor, control = daemon.monitor(kinds=["shutdown"], states=False), daemon.control()
    control.resume()
    record = next(monitor).exit
    assert record.exit.WhichOneof("kind") == "shutdown"
    groups = {group.name: {r.name: r.value for r in group.registers}
              for group in record.dump.groups}
    reset = "after INIT" in record.dump.cause
    assert groups["regs"]["rip"] == 0xFFF0 if reset else groups["regs"]["rip"] < 0x9000
    assert groups["regs"]["rbx"] == (0 if reset else 0x1122334455667788)
    assert record.dump.cause.startswith("shutdown")
    stopped = control.wait_until(all_in(STOPPED)).vcpus[0]
    assert stopped.stop_reason == record.dump.cause
    assert f"rbx={0 if reset else 0x1122334455667788:x} " in daemon.stderr
    daemon.stop(expect=GUEST)
