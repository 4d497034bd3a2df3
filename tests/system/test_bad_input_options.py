# SPDX-License-Identifier: MIT
"""Options, files and directories that the daemon cannot use: one line on standard error
that names the value and what to do, the documented status, and nothing left behind.
"""

import os
import re
import socket
import subprocess

import pytest
from guests import AT
from harness import BUSY, DEADLINE, IMAGE, KVMCPUD, RUNTIME, USAGE, eventually

MIB = 1 << 20


START = ("--entry", "0x8000")


@pytest.mark.parametrize("option, value, pattern", [
    ("memory", "0", "1M"), ("memory", "1", "1M"), ("memory", "3073M1", "64M"),
    ("memory", "3221225473", "4096"), ("memory", "99999999T", "1T"), ("memory", "-1", "64M"),
    ("memory", "abc", "64M"), ("memory", "", "64M"), ("memory", "64MB", "units"),
    ("memory", "18446744073709551616", "64M|1T"), ("memory", "0x100001", "4096"),
    ("cpus", "0", "1 to 64"), ("cpus", "65", "1 to 64"), ("cpus", "-1", "1 to 64"),
    ("cpus", "two", "1 to 64"), ("cpus", "4294967297", "1 to 64"),
    ("irqchip", "split", "none or kernel"), ("mode", "fast", "real, protected or long"),
    ("log-level", "loud", "error, warn, info or debug"),
    ("entry", "main", "address"), ("entry", "0x1g", "address"), ("image", "kernel", "FILE@"),
    ("image", "@0x8000", "FILE@"), ("image", "kernel@-1", "FILE@"),
    ("runtime-dir", "relative/dir", "absolute"),
    ("name", "a/b", "letters"), ("name", "..", "letters"), ("name", "", "letters"),
    ("name", "n" * 65, "64"), ("name", "a b", "letters"), ("name", "a\x01b", "letters"),
    ("name", "\u00e9", "letters"),
])
def test_values(refused, image, option, value, pattern):
    line = refused(USAGE, pattern, "--image", f"{image(16)}@0x8000", *START, f"--{option}", value)
    assert f"--{option}" in line
    assert re.sub(r"[^ -~]", "?", value) in re.sub(r"[^ -~]", "?", line)


@pytest.mark.parametrize("options, pattern", [
    ([], "--firmware or --image"),
    (["--mode", "long", "--firmware", "f"], "--entry"),
    (["--image", "f@0x8000"], "--entry"),
    (["--image", "f@0", "--entry", "0x100000"], "1 MiB.*--mode"),
    (["--image", "f@0", "--entry", "0x100000000", "--mode", "protected"], "4 GiB"),
    (["--frobnicate"], "frobnicate.*--help"),
    (["--memory"], "memory"),
    (["stray"], "stray"),
    (["--paused=yes", "--image", "f@0"], "paused"),
], ids=lambda value: " ".join(value) or "none" if isinstance(value, list) else "")
def test_combinations(refused, options, pattern):
    refused(USAGE, pattern, *options)


def test_firmware(refused, image, tmp_path):
    for path, pattern in (
            (tmp_path / "missing", "No such file"), (tmp_path, "not a regular file"),
            (image(0, "empty"), "empty"), (image(4097, "odd"), "4097 bytes.*4096"),
            (image(17 * MIB, "huge"), "17825792 bytes.*16 MiB"), ("/dev/zero", "not a regular")):
        line = refused(IMAGE, pattern, "--firmware", path)
        assert str(path) in line


def test_unreadable_firmware(refused, image, tmp_path):
    path = image(4096, "secret")
    path.chmod(0)
    if os.access(path, os.R_OK):
        # root reads everything, except on the other side of a symbolic loop
        path = tmp_path / "loop"
        path.symlink_to(path)
        refused(IMAGE, "loop: Too many levels", "--firmware", path)
    else:
        refused(IMAGE, "secret: Permission denied", "--firmware", path)


def test_images(refused, image, tmp_path):
    small, large = image(16), image(2 * MIB, "large")
    for words, pattern in (
            ([f"{large}@0", "--memory", "1M"], "2097152 bytes.*does not fit.*0x0"),
            ([f"{small}@0xffff8", "--memory", "1M"], "does not fit.*0xffff8.*ends at 0x100000"),
            ([f"{small}@0x100000000"], "does not fit.*0x100000000"),
            ([f"{small}@0xffffffffffffffff"], "does not fit.*0xffffffffffffffff"),
            ([f"{tmp_path / 'missing'}@0x8000"], "missing: No such file"),
            ([f"{tmp_path}@0x8000"], "not a regular file"),
            ([f"{image(0, 'empty')}@0x8000"], "empty")):
        refused(IMAGE, pattern, "--image", *words, *START)


def test_entry_outside_ram(refused, image):
    small = f"{image(16)}@0x8000"
    for entry in ("0x8000000", "0xffffffffffffffff"):
        refused(IMAGE, f"{entry}.*RAM", "--image", small, "--mode", "long", "--entry", entry)
    refused(IMAGE, "0x7fffffff.*RAM", "--image", small, "--mode", "protected", "--entry",
            "0x7fffffff")


@pytest.mark.parametrize("mode", ["protected", "long"])
def test_images_in_the_boot_area(refused, image, mode):
    for address in (0x1000, 0x3ff0, 0xff8):
        line = refused(IMAGE, "0x1000.*load it elsewhere", "--image", f"{image(32)}@{address:#x}",
                       "--mode", mode, *START)
        assert "image" in line


@pytest.mark.parametrize("text, pattern", [
    ("[vm]\nspeed = 5\n", r"speed.*--help"), ("speed = 5\n", "speed"),
    ("[machine]\nmemory = 64M\n", r"\[vm\]"), ("[vm]\nmemory = lots\n", "memory.*64M"),
    ("[vm]\nmemory = 64M\nnonsense\n", "line 3"), ("[vm\nmemory = 64M\n", "line 1"),
    ("[vm]\npaused = perhaps\n", "paused.*yes or no"), ("[vm]\nimage = f\n", "FILE@"),
    ("[vm]\ncpus = 0\n", "1 to 64"),
], ids=["unknown", "no-section", "section", "value", "syntax", "bracket", "switch", "image", "cpus"])
def test_configuration_file(refused, tmp_path, text, pattern):
    path = tmp_path / "vm.ini"
    path.write_text(text)
    assert str(path) in refused(USAGE, pattern, "--config", path, name=None)


def test_configuration_file_that_cannot_be_read(refused, tmp_path):
    refused(USAGE, "missing.ini.*No such file", "--config", tmp_path / "missing.ini")
    refused(USAGE, f"{tmp_path}.*directory", "--config", tmp_path)


def test_runtime_directories(refused, image, tmp_path):
    words = ("--image", f"{image(16)}@0x8000", *START)
    file = image(1, "file")
    refused(RUNTIME, f"{file}/t.*Not a directory.*--runtime-dir", *words, runtime_dir=file)
    refused(RUNTIME, "/proc/kv/t.*--runtime-dir", *words, runtime_dir="/proc/kv")
    refused(RUNTIME, "too long.*--runtime-dir", *words, runtime_dir=tmp_path / ("d" * 100))
    refused(RUNTIME, "too long", *words, runtime_dir="/" + "d" * 5000)
    assert not (tmp_path / ("d" * 100)).exists()


def test_something_else_in_the_way(refused, image):
    """A file where a socket or the lock should be is nobody's to remove."""
    words = ("--image", f"{image(16)}@0x8000", *START)
    directory = refused.base / "t"
    directory.mkdir()
    (directory / "control.sock").write_text("mine")
    refused(RUNTIME, "control.sock", *words)
    (directory / "control.sock").unlink()
    (directory / "lock").mkdir()
    refused(RUNTIME, "lock", *words)
    (directory / "lock").rmdir()
    (directory / "lock").symlink_to("/etc/hostname")
    refused(RUNTIME, "lock", *words)


def test_name_in_use(start, guest, image):
    """The second is told who has it; the first notices nothing."""
    first = start(*guest("loop", KIND=1, N=0, PORT=0x500), "--paused")
    done = subprocess.run(
        [KVMCPUD, "--name", first.name, "--runtime-dir", first.runtime_dir, "--image",
         f"{image(16)}@{AT:#x}", *START], capture_output=True, text=True, timeout=DEADLINE,
        check=False)
    assert done.returncode == BUSY
    line, = done.stderr.splitlines()
    assert line.startswith("kvmcpud") and f"pid {first.pid}" in line and "--name" in line
    assert first.control().status().pid == first.pid
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(first.path("device"))


def test_without_standard_error(image, tmp_path):
    """What the daemon opens first must not take its place: the log would end up there."""
    words = [str(word) for word in (
        KVMCPUD, "--name", "t", "--runtime-dir", tmp_path / "r", "--image",
        f"{image(16)}@0x8000", *START, "--paused", "--log-level", "debug")]
    daemon = subprocess.Popen(["sh", "-c", 'exec "$@" 2>&-', "sh", *words])
    try:
        eventually("a daemon that listens", (tmp_path / "r" / "t" / "control.sock").exists)
        assert (tmp_path / "r" / "t" / "lock").read_text() == f"{daemon.pid}\n"
    finally:
        daemon.terminate()
        assert daemon.wait(DEADLINE) == 0
    assert not (tmp_path / "r" / "t").exists()
