# SPDX-License-Identifier: MIT
"""--kernel by each of its protocols: a small kernel tells what it was given, as its own
loads see it.
"""

import shutil
import struct
import subprocess

import kernels
import pytest
from guests import run
from harness import DEADLINE, ROOT
from kernels import PORT, Talk

import kvmcpu

MIB = 1 << 20
INITRD = bytes(range(256)) * 16 + b"the end"  # no whole number of pages
COMMAND_LINE = "console=ttyS0 root=/dev/ram0 -- quoted=\"a b\""
RAM, RESERVED = 1, 2


def memory_map(mib):
    """What the guest must be told: address, size, type."""
    low = min(mib, 3072) * MIB
    ranges = [(0, 0xa0000, RAM), (0xe0000, 0x20000, RESERVED), (MIB, low - MIB, RAM),
              (0xfeffc000, 0x4000, RESERVED)]
    if mib > 3072:
        ranges.append((4096 * MIB, mib * MIB - low, RAM))
    return ranges


@pytest.fixture
def initrd(tmp_path):
    path = tmp_path / "modules" / "initrd.img"
    path.parent.mkdir()
    path.write_bytes(INITRD)
    return path


@pytest.fixture
def converse(start):
    """Runs a kernel to the end of a talk (see kernels.Talk)."""
    def begin(talk, kernel, *options):
        daemon = start("--kernel", str(kernel), *map(str, options), "--paused")
        serving = daemon.serve(Talk(talk))
        daemon.control().resume()
        serving.join()
        daemon.ended(0)

    return begin


def check_bytes(address, wanted):
    """The guest has these bytes: both ends, and around the end of the first page. Each
    word is an exit, so not all of them.
    """
    for at in {0, min(4096, len(wanted)) - 32, len(wanted) - 64}:
        assert (yield address + at, 64) == wanted[at:at + 64].ljust(64, b"\0"), at


def text(memory):
    return memory[:memory.index(0)].decode()


# ---- Multiboot ----

def read_module(address, count):
    """Where the one module that a kernel was given lies, and its name."""
    if not count:
        return None
    first, end, name, _ = struct.unpack("<4I", (yield address, 16))
    assert first % 4096 == 0
    return first, end, text((yield name, 64))


def check_multiboot(mib, command_line, module, seen):
    def talk(registers):
        assert registers["eax"] == 0x2badb002
        assert registers["cr0"] & 0x80000001 == 1, "not in protected mode without paging"
        assert registers["cs"] != registers["ds"]
        info = struct.unpack("<17I", (yield registers["ebx"], 68))
        flags, lower, upper, _, line, n_modules, modules = info[:7]
        map_bytes, map_at, loader = info[11], info[12], info[16]
        assert struct.unpack("<H", (yield 0x413, 2)) == (640,), "the BIOS's word for low memory"
        assert flags & 0x24d == 0x24d, f"{flags:#x}: memory, command line, modules, map, loader"
        assert (lower, upper) == (640, (min(mib, 3072) - 1) * 1024)
        assert text((yield line, 96)) == command_line
        assert text((yield loader, 32)).startswith("kvmcpud ")
        assert (yield from read_module(modules, n_modules)) == module
        if module:
            yield from check_bytes(module[0], INITRD)
        told = struct.iter_unpack("<IQQI", (yield map_at, map_bytes))
        assert [entry[1:] for entry in told if entry[0] == 20] == memory_map(mib)
        seen.append(True)

    return talk


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("irqchip", ["kernel", "none"])
def test_multiboot(converse, tmp_path, initrd, bits, irqchip):
    kernel, seen = kernels.assemble(tmp_path, 0, bits), []
    # Right behind the kernel, which has less than a page.
    module = kernels.AT + 4096, kernels.AT + 4096 + len(INITRD), "initrd.img"
    talk = check_multiboot(64, f"{kernel.name} {COMMAND_LINE}", module, seen)
    converse(talk, kernel, "--initrd", initrd, "--append", COMMAND_LINE, "--memory", "64M",
             "--irqchip", irqchip)
    assert seen


def test_multiboot_alone(converse, tmp_path):
    """Without a module, without a command line, and with RAM on both sides of the hole."""
    kernel, seen = kernels.assemble(tmp_path, 0, 32), []
    converse(check_multiboot(3200, kernel.name, None, seen), kernel, "--memory", "3200M")
    assert seen


# ---- PVH ----

@pytest.mark.parametrize("bits", [32, 64])
def test_pvh(converse, tmp_path, initrd, bits):
    """The file has a Multiboot header as well; PVH is preferred."""
    seen = []

    def talk(registers):
        assert registers["esi"] == 0x707668, "not by the entry in the note"
        assert registers["cr0"] & 0x80000001 == 1
        magic, version, flags, n_modules, modules, line, rsdp, map_at, n_map, _ = struct.unpack(
            "<4I4Q2I", (yield registers["ebx"], 56))
        assert (magic, version, flags, n_modules) == (0x336ec578, 1, 0, 1)
        assert text((yield line, 96)) == COMMAND_LINE
        at, size, _, _ = struct.unpack("<4Q", (yield modules, 32))
        assert at == 64 * MIB - 2 * 4096, "not as high as it fits"
        assert size == len(INITRD)
        yield from check_bytes(at, INITRD)
        assert (yield rsdp, 8) == b"RSD PTR "
        told = struct.iter_unpack("<QQII", (yield map_at, 24 * n_map))
        assert [entry[:3] for entry in told] == memory_map(64)
        seen.append(True)

    converse(talk, kernels.assemble(tmp_path, 1, bits), "--initrd", initrd, "--append",
             COMMAND_LINE, "--memory", "64M")
    assert seen


# ---- Linux ----

HEADER = 0x1f0  # one byte before it, in struct boot_params as in the file


@pytest.mark.parametrize("changes, at, initrd_at", [
    ({}, 0x1000000, 64 * MIB - 2 * 4096),
    ({"pref_address": 0x1400000}, 0x1400000, 64 * MIB - 2 * 4096),
    ({"relocatable_kernel": 0}, 0x100000, 64 * MIB - 2 * 4096),
    # the header's limit is the last byte that may be used
    ({"initrd_addr_max": 0x2ffffff}, 0x1000000, 48 * MIB - 2 * 4096),
], ids=["plain", "pref_address", "not-relocatable", "initrd_addr_max"])
def test_bzimage(converse, tmp_path, initrd, changes, at, initrd_at):
    code, seen = kernels.payload(tmp_path), []
    image = kernels.bzimage(code, **changes)
    kernel = tmp_path / "bzImage"
    kernel.write_bytes(image)

    def talk(registers):
        assert registers["cr0"] & 0x80000001 == 0x80000001, "paging is off"
        assert (registers["cs"], registers["ds"]) == (0x10, 0x18)
        header = yield registers["esi"] + HEADER, 0x80

        def field(name):
            offset, form = kernels.FIELDS[name]
            return struct.unpack_from(f"<{form}", header, offset - HEADER)[0]

        for name in ("setup_sects", "header", "version", "init_size", "pref_address",
                     "kernel_alignment", "xloadflags"):
            offset, form = kernels.FIELDS[name]
            assert field(name) == struct.unpack_from(f"<{form}", image, offset)[0], name
        assert header[0x210 - HEADER] == 0xff, "who loaded it"
        assert field("loadflags") & 1 and field("code32_start") == at
        ramdisk, size, line = struct.unpack_from("<II8xI", header, 0x218 - HEADER)
        assert text((yield line, 96)) == COMMAND_LINE
        assert (ramdisk, size) == (initrd_at, len(INITRD))
        yield from check_bytes(ramdisk, INITRD)
        yield from check_bytes(at, code)
        rsdp, = struct.unpack("<Q", (yield registers["esi"] + 0x70, 8))
        assert (yield rsdp, 8) == b"RSD PTR "
        n_map, = (yield registers["esi"] + 0x1e8, 1)
        told = list(struct.iter_unpack("<QQI", (yield registers["esi"] + 0x2d0, 20 * n_map)))
        assert told == memory_map(64)
        seen.append(True)

    converse(talk, kernel, "--initrd", initrd, "--append", COMMAND_LINE, "--memory", "64M")
    assert seen


def test_longest_command_line(converse, tmp_path):
    kernel, seen = tmp_path / "bzImage", []
    kernel.write_bytes(kernels.bzimage(kernels.payload(tmp_path), cmdline_size=300))
    line = "x" * 300

    def talk(registers):
        at, = struct.unpack("<I", (yield registers["esi"] + 0x228, 4))
        assert (yield at, 302) == line.encode() + b"\0\0"
        seen.append(True)

    converse(talk, kernel, "--append", line, "--memory", "64M")
    assert seen


# ---- ACPI ----

def tables(control):
    """The ACPI tables by signature, each with its checksum checked."""
    rsdp = control.read_memory(0xe0000, 36)
    assert rsdp[:8] == b"RSD PTR " and sum(rsdp[:20]) % 256 == 0 == sum(rsdp) % 256
    rsdt, _, xsdt = struct.unpack_from("<IIQ", rsdp, 16)

    def table(at):
        size, = struct.unpack("<I", control.read_memory(at + 4, 4))
        whole = control.read_memory(at, size)
        assert whole[:4] == b"FACS" or sum(whole) % 256 == 0, whole[:4]
        return whole

    found = [address for address, in struct.iter_unpack("<Q", table(xsdt)[36:])]
    assert found == [address for address, in struct.iter_unpack("<I", table(rsdt)[36:])]
    made = {whole[:4].decode(): whole for whole in map(table, found)}
    facs, dsdt = struct.unpack_from("<II", made["FACP"], 36)
    assert facs % 64 == 0
    return {**made, "FACS": table(facs), "DSDT": table(dsdt)}


@pytest.fixture
def acpi(start, tmp_path):
    """The tables of a VM with so many processors."""
    def make(cpus):
        daemon = start("--kernel", str(kernels.assemble(tmp_path, 1, 64)), "--cpus", str(cpus),
                       "--paused")
        return tables(daemon.control())

    return make


@pytest.mark.parametrize("cpus", [1, 2, 64])
def test_processors(acpi, cpus):
    """The MADT has every processor and one IO-APIC."""
    madt, found = acpi(cpus)["APIC"], []
    at = 44
    while at < len(madt):
        found.append(madt[at:at + madt[at + 1]])
        at += madt[at + 1]
    assert at == len(madt)
    assert [entry[3] for entry in found if entry[0] == 0] == list(range(cpus))
    assert all(entry[4] == 1 for entry in found if entry[0] == 0), "not enabled"
    io_apic, = (entry for entry in found if entry[0] == 1)
    assert struct.unpack_from("<II", io_apic, 4) == (0xfec00000, 0)
    assert struct.unpack_from("<I", madt, 36) == (0xfee00000,)


def decompiled(tmp_path, name, table):
    if not shutil.which("iasl"):
        pytest.skip("iasl is missing: install acpica-tools")
    path = tmp_path / f"{name}.aml"
    path.write_bytes(table)
    done = subprocess.run(["iasl", "-d", path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return path.with_suffix(".dsl").read_text()


def test_power_off_and_reset(acpi, tmp_path):
    """As iasl reads the FADT: the registers that a device client serves."""
    fadt = decompiled(tmp_path, "facp", acpi(1)["FACP"])
    values = {}
    for line in fadt.splitlines():
        name, colon, value = line.rpartition(" : ")
        if colon:
            values.setdefault(name.split("] ", 1)[-1].strip(), value.strip())
    assert values["SMI Command Port"] == "00000000"
    assert values["SCI Interrupt"] == "0009"
    assert values["PM1A Event Block Address"] == "00000600"
    assert values["PM1 Event Block Length"] == "04"
    assert values["PM1A Control Block Address"] == "00000604"
    assert values["PM1 Control Block Length"] == "02"
    assert values["Reset Register Supported (V2)"] == "1"
    assert values["Value to cause reset"] == "06"
    assert values["Hardware Reduced (V5)"] == "0"
    assert values["Legacy Devices Supported (V2)"] == "1"
    assert "0000000000000CF9" in fadt


def test_dsdt_is_its_source(acpi, tmp_path):
    if not shutil.which("iasl"):
        pytest.skip("iasl is missing: install acpica-tools")
    run("iasl", "-p", tmp_path / "dsdt", ROOT / "tests" / "acpi" / "dsdt.asl")
    ours, compiled = acpi(1)["DSDT"], (tmp_path / "dsdt.aml").read_bytes()
    assert ours[:4] == b"DSDT"
    assert ours[36:] == compiled[36:]


def test_every_table_decompiles(acpi, tmp_path):
    for name, table in acpi(2).items():
        assert "Error" not in decompiled(tmp_path, name.lower(), table)


def test_no_tables_without_controllers(start, tmp_path):
    """They would name an IO-APIC that is not there."""
    daemon = start("--kernel", str(kernels.assemble(tmp_path, 0, 32)), "--irqchip", "none",
                   "--paused")
    assert daemon.control().read_memory(0xe0000, 0x20000) == bytes(0x20000)


# ---- CPUID ----

class Leaves(kvmcpu.Device):
    """What each vCPU of tests/guest/cpuid.S tells."""

    def __init__(self):
        self.told = {}

    @kvmcpu.pio_write(PORT, PORT + 255, sizes=4)
    def hear(self, access):
        self.told.setdefault((access.address - PORT) // 4, []).append(access.value)


LEAVES = 6  # in the guest's table


@pytest.mark.parametrize("cpus", [1, 2, 5])
def test_topology(start, guest, cpus):
    """One package of single-thread cores, whichever leaf is asked."""
    daemon = start(*guest("cpuid", cpus=cpus, PORT=PORT), "--paused")
    device = Leaves()
    daemon.serve(device)
    control = daemon.control()
    control.resume()
    control.wait_until(lambda status: all(
        len(device.told.get(index, ())) == 4 * LEAVES for index in range(cpus)), DEADLINE)
    bits = (cpus - 1).bit_length()
    for index in range(cpus):
        leaves = list(zip(*[iter(device.told[index])] * 4))
        basic, one, threads, cores, end, extended = leaves
        assert (one[1] >> 24, one[1] >> 16 & 0xff) == (index, cpus)
        assert cpus == 1 or one[3] & 1 << 28, "no HTT"  # with one, PVM shows the host's
        assert one[2] & 1 << 31, "no hypervisor"
        assert not one[2] & (1 << 21 | 1 << 24), "x2APIC or TSC deadline without a local APIC"
        if basic[0] >= 0xb:
            assert threads == (0, 1, 1 << 8, index)
            assert cores == (bits, cpus, 2 << 8 | 1, index)
            assert end == (0, 0, 2, index)
        if struct.pack("<I", basic[1]) in (b"Auth", b"Hygo"):
            assert extended[2] & 0xf0ff == bits << 12 | cpus - 1
