# SPDX-License-Identifier: MIT
"""The ready devices, driven by their registers, and the program that serves them."""

import calendar
import io
import os
import subprocess
import sys

import exits
import pytest
from bus import Bus
from kvmcpu.devices import I8042, Cmos, Debugcon, Port92, Post
from kvmcpu.devices.__main__ import main, size
from kvmcpud.v1 import exit_pb2 as x
from kvmcpud.v1 import hello_pb2

GIB = 1 << 30


def test_debugcon():
    out = io.BytesIO()
    bus = Bus(Debugcon(out))
    assert (bus.read(0x402), bus.read(0xE9)) == (0xE9, 0xE9)
    bus.write(0x402, 0x41)
    bus.access(exits.pio_out(0xE9, b"string"), 1)
    assert out.getvalue() == b"Astring"


def test_post():
    shown = []
    bus = Bus(Post(shown.append))
    for code in (1, 1, 2):
        bus.write(0x80, code)
    assert shown == [1, 2]
    assert bus.read(0x80) == 2


def cmos(memory=0, when=(2031, 12, 7, 23, 59, 8)):
    made = Bus(Cmos(memory, now=lambda: calendar.timegm(when)))

    def get(index):
        made.write(0x70, index | 0x80)  # with NMI masked, as firmware does
        return made.read(0x71)

    made.get = get
    return made


def test_clock_in_bcd_by_default():
    bus = cmos()
    got = [bus.get(index) for index in (0, 2, 4, 6, 7, 8, 9, 0x32)]
    assert got == [0x08, 0x59, 0x23, 1, 0x07, 0x12, 0x31, 0x20]  # a Sunday is day 1
    assert (bus.get(0x0A) & 0x80, bus.get(0x0B), bus.get(0x0D)) == (0, 2, 0x80)


@pytest.mark.parametrize("register_b, hour, expected", [
    (0x02, 23, 0x23), (0x06, 23, 23), (0x00, 23, 0x91), (0x04, 23, 0x8B), (0x00, 0, 0x12),
    (0x00, 12, 0x92), (0x00, 1, 0x01)])
def test_hours_as_register_b_says(register_b, hour, expected):
    bus = cmos(when=(2031, 1, 1, hour, 0, 0))
    bus.write(0x70, 0x0B)
    bus.write(0x71, register_b)
    assert bus.get(4) == expected


def words(bus, *indices):
    return [bus.get(index) | bus.get(index + 1) << 8 for index in indices]


@pytest.mark.parametrize("memory, base, extended, above_16m, above_4g", [
    (512 << 10, 512, 0, 0, 0),
    (128 << 20, 640, 65535, 112 << 4, 0),
    (32 << 20, 640, 31 << 10, 16 << 4, 0),
    (3 * GIB, 640, 65535, (3 * GIB - (16 << 20)) >> 16, 0),
    (8 * GIB, 640, 65535, (3 * GIB - (16 << 20)) >> 16, 5 * GIB >> 16)])
def test_memory_sizes(memory, base, extended, above_16m, above_4g):
    bus = cmos(memory)
    assert words(bus, 0x15, 0x17, 0x30, 0x34) == [base, extended, extended, above_16m]
    assert words(bus, 0x5B)[0] | bus.get(0x5D) << 16 == above_4g


def test_memory_size_from_the_vm_unless_given():
    info = hello_pb2.VmInfo(memory_bytes=128 << 20)
    for given, expected in ((None, 112 << 4), (32 << 20, 16 << 4)):
        made = Cmos(given)
        made.attached(info)
        assert made.ram[0x34] | made.ram[0x35] << 8 == expected


def test_cmos_ram_and_read_only_registers():
    bus = cmos()
    for index in (0x40, 0x0D):
        bus.write(0x70, index)
        bus.write(0x71, 0x5A)
    assert (bus.get(0x40), bus.get(0x0D), bus.read(0x70)) == (0x5A, 0x80, 0xFF)


def program(daemon, *arguments, **options):
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path))
    return subprocess.Popen(
        [sys.executable, "-m", "kvmcpu.devices", "--runtime-dir", str(daemon.runtime_dir),
         *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def test_the_program_from_ready_to_the_end(daemon, tmp_path):
    log = tmp_path / "serial.log"
    ready, told = os.pipe()

    def script(peer):
        assert os.read(ready, 2) == b"\n"
        assert os.read(ready, 1) == b""
        claims = {claim.first: claim.name for claim in peer.hello.device.claims}
        assert claims == {0x402: "debugcon", 0xE9: "debugcon", 0x80: "post", 0x70: "cmos",
                          0x71: "cmos", 0x60: "i8042", 0x64: "i8042", 0x92: "port92",
                          0x600: "power", 0xCF9: "power", 0x3F8: "serial"}
        assert peer.hello.client == "pc"
        assert peer.ask(exits.pio_in(0x402)).data == b"\xe9"
        peer.ask(exits.pio_out(0x402, b"hello"))
        peer.ask(exits.pio_out(0x3F8, b"log"))
        peer.ask(exits.pio_out(0x70, b"\x34"))
        assert peer.ask(exits.pio_in(0x71)).data == b"\x00"
        peer.ask(exits.pio_out(0x70, b"\x35"))
        assert peer.ask(exits.pio_in(0x71)).data == b"\x07"
        reply = peer.ask(exits.pio_out(0x64, b"\xfe"))
        assert reply.effects[0].stop_vm.reason == "guest reset"
        peer.stopped()

    daemon("device", script)
    process = program(daemon, "--ready-fd", str(told), "--serial", str(log), pass_fds=[told])
    os.close(told)
    out, error = process.communicate(timeout=10)
    os.close(ready)
    assert (process.returncode, out, error) == (0, b"hello", b"pc: the VM ends\n")
    assert log.read_bytes() == b"log"


def test_the_program_says_ready(daemon):
    daemon("device", lambda peer: peer.stopped())
    _, error = program(daemon).communicate(timeout=10)
    assert error == b"ready\npc: the VM ends\n"


def test_the_program_serves_new_devices_after_a_reset(daemon, tmp_path):
    """What it wrote before stays; what the guest had set is gone."""
    log = tmp_path / "serial.log"

    def first(peer):
        peer.ask(exits.pio_out(0x3FF, b"\x5a"))
        peer.ask(exits.pio_out(0x3F8, b"one"))
        peer.reset()

    def second(peer):
        assert peer.ask(exits.pio_in(0x3FF)).data == b"\0"
        peer.ask(exits.pio_out(0x3F8, b"two"))
        peer.stopped()

    daemon("device", [first, second])
    _, error = program(daemon, "--serial", str(log)).communicate(timeout=10)
    assert error.splitlines() == [
        b"ready", b"pc: the VM starts again; goes on with new devices", b"pc: the VM ends"]
    assert log.read_bytes() == b"onetwo"


def test_the_program_leaves_the_access_open_when_output_fails(daemon):
    def script(peer):
        peer.send(exits.pio_out(0x3F8, b"a"))
        assert peer.at_end()

    daemon("device", script)
    process = program(daemon, "--serial", "/dev/full")
    _, error = process.communicate(timeout=10)
    assert process.returncode == 74
    assert b"No space left" in error and b"another client" in error


@pytest.mark.parametrize("status, expected", [
    (hello_pb2.HELLO_STATUS_OVERLAP, 65), (hello_pb2.HELLO_STATUS_PERMISSION, 65)])
def test_the_program_refused(daemon, capsys, status, expected):
    reply = hello_pb2.HelloReply(status=status, message="no, because; do that")
    daemon("device", lambda peer: None, reply=reply)
    assert main(["--runtime-dir", str(daemon.runtime_dir)]) == expected
    assert "no, because; do that" in capsys.readouterr().err


def test_the_program_without_a_daemon(tmp_path, capsys):
    assert main(["--runtime-dir", str(tmp_path)]) == 69
    assert "start one with" in capsys.readouterr().err


def test_the_program_cut_off(daemon, capsys):
    daemon("device", lambda peer: peer.send(x.Exit(notice=x.Notice(
        code=x.NOTICE_CODE_PROTOCOL, message="bad reply"))))
    assert main(["--runtime-dir", str(daemon.runtime_dir)]) == 76
    assert "bad reply" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--memory", "lots"], ["--nonsense"], ["--vm", "a/b"],
                                       ["--memory", "-1"], ["--log", "loud"],
                                       ["--debugcon", "pty"], ["--serial"]])
def test_the_program_misused(arguments, tmp_path, capsys):
    try:
        status = main([*arguments, "--runtime-dir", str(tmp_path)])
    except SystemExit as caught:
        status = caught.code
    assert status == 64
    assert capsys.readouterr().err


@pytest.mark.parametrize("arguments, said", [
    (["--serial", "/nowhere/at/all"], "/nowhere/at/all cannot be opened: No such file"),
    (["--debugcon", "/nowhere/at/all"], "--debugcon"),
    (["--serial", "unix:/nowhere/at/all"], "No such file"),
    (["--serial", "unix:/tmp/" + "x" * 120], "room for 107 bytes"),
    (["--state", "/nowhere/at/all"], "/nowhere/at/all cannot be used"),
    (["--state", "/dev/null"], "/dev/null"),
    (["--state", __file__], "is no state")])
def test_the_program_with_files_that_cannot_be_used(arguments, said, tmp_path, capsys):
    assert main([*arguments, "--runtime-dir", str(tmp_path)]) == 74
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_sizes():
    assert [size(text) for text in ("0x10", "7", "2k", "64M", "1G")] == [
        16, 7, 2048, 64 << 20, GIB]
