# SPDX-License-Identifier: MIT
"""Hypercalls: one exit with a number and six arguments, whatever way the guest takes."""

import struct

import kvmcpu
import pytest
from devices import PORT, RESULTS, STOP, counts, exits_of, halted
from guests import AT, EVERY_MODE, HEADERS, SOURCES, run
from harness import DEADLINE, NO_KVM, USAGE, eventually

DEFAULT_PORT = 0xE4
PIO, MMIO, MSR, VMCALL, VMMCALL = range(5)
MMIO_DOOR, MSR_DOOR = 0xD0000000, 0x4B564D80
NUMBER = 0x70000001
RESULT = 0xFEDCBA9876543210
MAP_GPA_RANGE = 12  # KVM_HC_MAP_GPA_RANGE
ONES = 2**64 - 1
WAYS = {"pio": (PIO, DEFAULT_PORT), "mmio": (MMIO, MMIO_DOOR), "msr": (MSR, MSR_DOOR)}


def arguments(mode):
    if mode in ("long", "user"):
        return tuple(digit * 0x1111111111111111 for digit in range(1, 7))
    return (0x11111111, 0x22222222, 0x33333333)


def kept(control, mode):
    """The result that the guest got, and its argument registers afterwards."""
    n = 1 + len(arguments(mode))
    return struct.unpack(f"<{n}Q", control.read_memory(RESULTS, 8 * n))


class Calls(kvmcpu.Device):
    """Answers all hypercalls, and remembers them."""

    def __init__(self, ticks=0):
        self.seen, self.ticks = [], ticks

    @kvmcpu.hypercall(NUMBER, NUMBER + 2**24)
    def call(self, access):
        self.seen.append((access.address, access.args, access.long_mode))
        return RESULT, self.ticks


def check_calls(control, device, mode, n=1):
    args = arguments(mode)
    assert [call[0] for call in device.seen] == [NUMBER + i for i in range(n)]
    wide = mode in ("long", "user")
    assert {call[2] for call in device.seen} == {wide}
    assert {call[1][:len(args)] for call in device.seen} == {args}
    assert kept(control, mode) == (RESULT if wide else RESULT & 0xFFFFFFFF, *args)
    stats = control.stats().vcpus[0]
    assert (stats.num_hypercalls, stats.num_io, stats.num_mmio, stats.num_msr) == (n, 0, 0, 0)
    assert counts(control) == [n]


@pytest.mark.parametrize("mode", EVERY_MODE)
def test_s22_number_arguments_and_result(start, guest, mode):
    daemon = start(*guest("hypercall", mode, WAY=PIO, NUMBER=NUMBER, N=3), "--paused")
    device, control = Calls(ticks=7), daemon.control()
    daemon.serve(device)
    control.resume()
    assert halted(control).vcpus[0].tick == 21
    check_calls(control, device, mode, 3)


@pytest.mark.parametrize("way", ["mmio", "msr"])
@pytest.mark.parametrize("mode", ["protected", "long"])
def test_s22_every_way_is_the_same_exit(start, guest, way, mode):
    number, door = WAYS[way]
    daemon = start(*guest("hypercall", mode, WAY=number, NUMBER=NUMBER, N=2, DOOR=door),
                   "--hypercall", f"{way}:{door:#x}", "--paused")
    device, control = Calls(), daemon.control()
    daemon.serve(device)
    control.resume()
    halted(control)
    check_calls(control, device, mode, 2)


def test_s22_unclaimed_it_is_a_plain_access(start, guest):
    """Who claims the port sees a write of 32 bits, and no register of the guest changes."""
    class Port(kvmcpu.Device):
        seen = []

        @kvmcpu.pio_write(DEFAULT_PORT)
        def write(self, access):
            self.seen.append((access.kind, access.size, access.value))

    daemon = start(*guest("hypercall", WAY=PIO, NUMBER=NUMBER, N=1), "--paused")
    control = daemon.control()
    daemon.serve(Port())
    control.resume()
    halted(control)
    assert Port.seen == [("pio", 4, NUMBER)]
    assert kept(control, "long") == (NUMBER, *arguments("long"))
    assert control.stats().vcpus[0].num_hypercalls == 0


def test_s22_another_number_gives_all_ones(start, guest):
    class Other(kvmcpu.Device):
        @kvmcpu.hypercall(1)
        def call(self, access):
            raise AssertionError("not this number")

    daemon = start(*guest("hypercall", WAY=PIO, NUMBER=NUMBER, N=1), "--paused")
    control = daemon.control()
    daemon.serve(Other())
    control.resume()
    halted(control)
    assert kept(control, "long") == (ONES, *arguments("long"))
    stats = control.stats().vcpus[0]
    assert (stats.num_hypercalls, stats.num_unclaimed) == (1, 1)


def test_s22_a_refused_call_gives_all_ones_and_is_counted(start, guest):
    class Refusing(kvmcpu.Device):
        @kvmcpu.hypercall(NUMBER)
        def call(self, access):
            return kvmcpu.Reply(bus_error=True)

    daemon = start(*guest("hypercall", WAY=PIO, NUMBER=NUMBER, N=1), "--paused")
    control = daemon.control()
    daemon.serve(Refusing())
    control.resume()
    halted(control)
    assert kept(control, "long")[0] == ONES
    assert control.stats().claims[0].bus_errors == 1


def test_s22_other_accesses_to_the_port_stay_accesses(start, guest):
    """Narrower writes, and reads of any width, are the port's."""
    daemon = start(*guest("sizes", PORT=DEFAULT_PORT, MMIO=0xD0000000), "--paused")
    monitor, control = daemon.monitor(kinds=["pio", "hypercall"], states=False), daemon.control()
    daemon.serve(Calls())
    control.resume()
    halted(control)
    seen = [next(monitor).exit.exit for _ in range(6)]
    assert [x.WhichOneof("kind") for x in seen] == ["pio"] * 5 + ["hypercall"]
    assert control.stats().vcpus[0].num_hypercalls == 1


def test_s22_a_claim_turns_them_on_while_the_guest_runs(start, guest):
    daemon = start(*guest("hypercall", WAY=PIO, NUMBER=NUMBER, N=0))
    control = daemon.control()
    eventually("plain accesses", lambda: control.stats().vcpus[0].num_io > 10)
    assert control.stats().vcpus[0].num_hypercalls == 0
    device = Calls()
    daemon.serve(device)
    eventually("calls", lambda: len(device.seen) > 10)
    control.write_memory(STOP, b"\1")
    halted(control)
    stats = control.stats().vcpus[0]
    assert device.seen[0][1] == arguments("long"), "the first call's arguments"
    assert stats.num_hypercalls == len(device.seen)
    assert stats.num_io + stats.num_hypercalls == counts(control)[0]
    numbers = [call[0] for call in device.seen]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), "one in the middle is lost"
    assert kept(control, "long") == (RESULT, *arguments("long"))


def test_s22_a_call_in_flight_outlives_its_client(start, guest):
    daemon = start(*guest("hypercall", WAY=PIO, NUMBER=NUMBER, N=1), "--paused")
    control = daemon.control()
    first = daemon.serve(Calls())
    first.close()
    control.resume()
    control.wait_until(lambda status: status.vcpus[0].HasField("wait"))
    control.pause()
    control.resume()
    device = Calls()
    daemon.serve(device)
    halted(control)
    check_calls(control, device, "long")


def test_s22_a_page_with_one_exit(start, tmp_path):
    """The guest's C header, six arguments and the buffer form."""
    class Page(kvmcpu.Device):
        args = page = None

        @kvmcpu.hypercall(0x70)
        def six(self, access):
            self.args = access.args
            return 0x123456789ABCDEF0

        @kvmcpu.hypercall(0x71)
        def buffer(self, access):
            address, size, more = access.args[:3]
            self.page = bytes(watcher.memory.read(address, size)), more
            return kvmcpu.Reply(size, effects=[kvmcpu.write_memory(address, bytes([3]) * size)])

    run("gcc", "-O2", "-ffreestanding", "-fno-pie", "-fno-stack-protector", "-mgeneral-regs-only",
        "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-Wall", "-Werror", "-I",
        HEADERS, "-c", "-o", tmp_path / "guest.o", SOURCES / "hypercall.c")
    run("ld", "-m", "elf_x86_64", f"-Ttext={AT:#x}", "-e", hex(AT), "--oformat", "binary", "-o",
        tmp_path / "guest", tmp_path / "guest.o")
    daemon = start("--image", f"{tmp_path / 'guest'}@{AT:#x}", "--entry", hex(AT), "--mode",
                   "long", "--paused")
    control, device = daemon.control(), Page()
    watcher = daemon.monitor(want_memory=True)
    daemon.serve(device)
    control.resume()
    halted(control)
    assert device.args == (1, 2, 3, 4, 5, 6)
    assert device.page == (bytes(i * 7 & 0xFF for i in range(4096)), 9)
    assert struct.unpack("<3Q", control.read_memory(RESULTS, 24)) == (
        0x123456789ABCDEF0, 4096, 3 * 4096)
    assert control.stats().vcpus[0].num_hypercalls == 2
