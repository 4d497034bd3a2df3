# SPDX-License-Identifier: MIT
"""The serial console under load: not one byte is lost or doubled, in either direction,
also when the console's process is killed in the middle.
"""

import hashlib
import random
import re

import cpio
import image
import pytest
from guest import BOOT, SLOW, amount
from harness import eventually

KIB = 1 << 10


def blob_in_guest(console, size):
    """Has the guest make size random bytes in /tmp/blob; their SHA-256."""
    return console.check(f"head -c {size} /dev/urandom >/tmp/blob; sha256sum /tmp/blob").split()[0]


# Setting the terminal waits until all before it is out.
OUTPUT = b"""\
#!/bin/sh
sent() { sed -n 's/^0:.* tx:\\([0-9]*\\).*/\\1/p' /proc/tty/driver/serial; }
head -c %d /dev/urandom >/tmp/blob
stty raw -echo
echo START
stty raw -echo
before=$(sent)
cat /tmp/blob
stty raw -echo
after=$(sent)
echo
echo "RESULT $(sha256sum /tmp/blob | cut -d ' ' -f 1) $((after - before))"
stty raw -echo
poweroff -f
"""


def test_all_that_is_written_comes_out(linux):
    """1 MiB of random bytes, in full."""
    size = amount(1024 * KIB, 64 * KIB)
    guest = linux()
    guest.up()
    console = guest.console
    digest = blob_in_guest(console, size)
    console.type("stty raw -echo; echo START; cat /tmp/blob; stty sane\n")
    console.expect(rb"\r\nSTART\n")  # the echo has it too, but not on a line of its own
    assert hashlib.sha256(console.read(size, SLOW)).hexdigest() == digest


@pytest.mark.parametrize("language, size", [("c", amount(64 * KIB, 16 * KIB)),
                                            ("python", amount(16 * KIB, 4 * KIB))])
def test_typed_at_full_speed(linux, language, size):
    guest = linux(language)
    guest.up()
    console = guest.console
    data = random.Random(size).randbytes(size)
    console.type(f"stty raw -echo; echo START; head -c {size} | sha256sum; stty sane\n")
    console.expect(rb"\r\nSTART\n")
    console.type(data)
    assert console.expect(rb"([0-9a-f]{64})  -", SLOW)[1].decode() == \
        hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("language, size", [("c", amount(96 * KIB, 24 * KIB)),
                                            ("python", amount(96 * KIB, 8 * KIB))])
def test_the_consoles_process_is_killed(linux, language, size, tmp_path):
    """Three times in the middle of the output. The file has each byte once, and as many as
    the guest's kernel says that it has sent."""
    file, initrd = tmp_path / "console.out", tmp_path / "initramfs"
    initrd.write_bytes(image.initramfs([("etc/autorun", cpio.PROGRAM, OUTPUT % size)]))
    guest = linux(language, serial=str(file), initrd=initrd)
    guest.control.resume()
    eventually("the guest's output", lambda: b"START\n" in file.read_bytes(), BOOT)
    start = file.read_bytes().index(b"START\n") + 6
    for part in (1, 2, 3):
        eventually("more output", lambda part=part: file.stat().st_size > start + part * size // 4,
                   SLOW)
        guest.devices.kill()
        assert file.stat().st_size < start + size, "the output was over before the kill"
        guest.start_devices()
    assert guest.daemon.wait(SLOW) == 0
    text = file.read_bytes()
    said = re.match(rb"\nRESULT ([0-9a-f]{64}) (\d+)\n", text[start + size:])
    assert said, text[start + size:][:300]
    assert hashlib.sha256(text[start:start + size]).hexdigest() == said[1].decode()
    assert int(said[2]) == size  # behind it the kernel says that it powers down
