# SPDX-License-Identifier: MIT
"""Hypercalls: one exit with a number and six arguments, whatever way the guest takes."""

import collections
import contextlib
import re
import shutil
import signal
import struct

import kvmcpu
import pytest
from devices import RESULTS, STOP, TARGET, WAITING, all_in, counts, halted
from guests import AT, EVERY_MODE, HEADERS, SOURCES, run
from harness import NO_KVM, USAGE, eventually
from raw import INVALID, Peer, claim, hello

from kvmcpu.schema import hello as hello_messages

DEFAULT_PORT = 0xE4
PIO, MMIO, MSR, VMCALL, VMMCALL = range(5)
HYPERCALL = hello_messages.SPACE_HYPERCALL
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
    daemon.serve(Calls()).close()
    control.resume()
    control.wait_until(all_in(WAITING))
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


def cpu_is_intel():
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        return "GenuineIntel" in lines.read()


def test_s22_the_processors_own_instruction(start, guest):
    """Where KVM hands it out; elsewhere the daemon says why not, and does not start."""
    class Mapper(kvmcpu.Device):
        seen = []

        @kvmcpu.hypercall(MAP_GPA_RANGE)
        def call(self, access):
            self.seen.append((access.args, access.long_mode))
            return RESULT

    way = VMCALL if cpu_is_intel() else VMMCALL
    daemon = start(*guest("hypercall", WAY=way, NUMBER=MAP_GPA_RANGE, N=1), "--hypercall", "vmcall",
                   "--paused", wait=False)
    try:
        daemon.wait_ready()
    except AssertionError:
        assert daemon.wait() == NO_KVM
        assert "KVM_CAP_EXIT_HYPERCALL" in daemon.stderr and "use pio:0xe4" in daemon.stderr
        pytest.skip(daemon.stderr.strip())
    control = daemon.control()
    daemon.serve(Mapper())
    control.resume()
    halted(control)
    assert Mapper.seen == [((TARGET, 1, 0, 0, 0, 0), True)]
    assert struct.unpack("<Q", control.read_memory(RESULTS, 8)) == (RESULT,)
    assert control.stats().vcpus[0].num_hypercalls == 1


def test_s22_none_refuses_claims(start, guest):
    daemon = start(*guest("hypercall", WAY=PIO, NUMBER=NUMBER, N=1), "--hypercall", "none",
                   "--paused")
    peer = Peer(daemon, "device")
    peer.send_message(hello("device", claims=[claim(1, 2, space=HYPERCALL)]))
    answer = peer.welcome()
    assert answer.status == INVALID and "--hypercall none" in answer.message
    control = daemon.control()
    control.resume()
    halted(control)
    assert control.stats().vcpus[0].num_io == 1


@pytest.mark.parametrize("value, pattern", [
    ("pio:0x100", "0 to 0xff"), ("pio:", "number"), ("pio:-1", "number"), ("pio", "vmcall or none"),
    ("mmio:0xd0000002", "multiple of 4"), ("mmio:0x1000", "RAM"),
    ("mmio:0x10000000000000000", "number"), ("msr:0xffffffff", "too large"),
    ("msr:0x800", "APIC"), ("msr:0x8ff", "APIC"), ("vmcall:1", "none"), ("", "none")])
def test_s22_ways_that_are_none(refused, image, value, pattern):
    line = refused(USAGE, pattern, "--image", f"{image(16)}@0x8000", "--entry", "0x8000",
                   "--hypercall", value)
    assert "--hypercall" in line


@pytest.mark.parametrize("port", [0x20, 0x43, 0xA0, DEFAULT_PORT])
def test_s22_beside_registers_of_kvm_it_works(start, tmp_path, port):
    """With the interrupt controllers in the kernel, a 32-bit write to other ports comes out."""
    code = b"\xb8" + NUMBER.to_bytes(4, "little") + bytes((0xE7, port, 0xA3)) + RESULTS.to_bytes(
        4, "little") + b"\xf4"  # mov NUMBER, %eax; out %eax, port; mov %eax, RESULTS; hlt
    (tmp_path / "code").write_bytes(code)
    daemon = start("--image", f"{tmp_path / 'code'}@{AT:#x}", "--entry", hex(AT), "--mode",
                   "protected", "--irqchip", "kernel", "--hypercall", f"pio:{port:#x}", "--paused")
    device, control = Calls(), daemon.control()
    daemon.serve(device)
    control.resume()
    wanted = (RESULT & 0xFFFFFFFF).to_bytes(4, "little")
    eventually("the result", lambda: control.read_memory(RESULTS, 4) == wanted)
    assert [call[0] for call in device.seen] == [NUMBER]


@contextlib.contextmanager
def traced(daemon):
    """Counts the daemon's ioctls meanwhile, by name, in what it yields."""
    if not shutil.which("strace"):
        pytest.skip("strace is missing: install strace")
    calls = collections.Counter()
    trace = daemon.spawn(["strace", "-f", "-e", "trace=ioctl", "-p", daemon.pid], "strace")
    eventually("strace is attached", lambda: "attached" in trace.stderr or not trace.running)
    if not trace.running:
        pytest.skip(f"strace cannot attach: {trace.stderr.strip()}")
    yield calls
    trace.signal(signal.SIGINT)
    trace.wait()
    calls.update(re.findall(r"(KVM_[A-Z_]+)", trace.stderr))


@pytest.mark.parametrize("value", ["pio:0x40", "pio:0x61", "mmio:0xfee000f0", "mmio:0xfec00000"])
def test_s22_registers_of_kvm_are_no_way(refused, image, value):
    refused(USAGE, "KVM's own.*pio:0xe4", "--image", f"{image(16)}@0x8000", "--entry", "0x8000",
            "--irqchip", "kernel", "--hypercall", value)


def test_s22_a_call_costs_no_further_system_call(start, guest):
    """The registers of the first are fetched; from then on they come and go in KVM's page."""
    n = 100
    daemon = start(*guest("hypercall", WAY=PIO, NUMBER=NUMBER, N=n), "--paused")
    device, control = Calls(), daemon.control()
    if any("KVM_CAP_SYNC_REGS" in note for note in control.status().notes):
        pytest.skip("this KVM lacks KVM_CAP_SYNC_REGS")
    daemon.serve(device)
    with traced(daemon) as calls:
        control.resume()
        halted(control)
    assert len(device.seen) == n and calls["KVM_RUN"] >= n
    assert [calls[name] for name in ("KVM_GET_REGS", "KVM_GET_SREGS", "KVM_SET_REGS")] == [1, 1, 0]
    assert kept(control, "long") == (RESULT, *arguments("long"))


def test_s22_guests_without_calls_do_not_pay(start, guest):
    """A claim alone has no register fetched."""
    daemon = start(*guest("sizes", PORT=0x500, MMIO=0xD0000000), "--paused")
    control = daemon.control()
    daemon.serve(Calls())
    with traced(daemon) as calls:
        control.resume()
        halted(control)
    assert calls["KVM_RUN"] >= 14
    assert not [name for name in calls if "REGS" in name]
