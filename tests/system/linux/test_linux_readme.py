# SPDX-License-Identifier: MIT
"""README's commands boot Linux as they stand there, with the tests' kernel and initramfs."""

import os
import re
import socket
import subprocess

import image
from guest import BOOT
from console import Console
from harness import BUILD, ROOT, environment, eventually


def commands():
    """The example's commands up to the terminal's, one for each line of the shell."""
    text = (ROOT / "README.md").read_text()
    block = re.search(r"By hand, with a kernel.*?```\n(.*?)```", text, re.DOTALL)[1]
    lines = block.replace("\\\n", "").splitlines()
    assert lines[-1].startswith("socat ") and lines[-1].endswith("unix-connect:console")
    return lines[:-1]


def listens(path):
    """A look at it: whoever is connected to the console is taken to have gone again."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def test_booting_by_hand(initrd, tmp_path):
    os.symlink(image.vmlinuz(), tmp_path / "vmlinuz")
    os.symlink(initrd, tmp_path / "initramfs")
    runtime = tmp_path / "run"
    runtime.mkdir()
    there = environment(PATH=f"{BUILD}:{os.environ['PATH']}", XDG_RUNTIME_DIR=str(runtime))
    # A person's hands are slower than a shell: each command finds the one before at work.
    started = []
    try:
        for line in commands():
            background = line.endswith("&")
            words = line.rstrip("& ").split()
            process = subprocess.Popen(words, cwd=tmp_path, env=there,
                                       stdin=subprocess.DEVNULL)
            if background:
                started.append(process)
                waits_for = {"kvmcpud": runtime / "kvmcpud" / "linux" / "control.sock",
                             "kvmcpu-pc": tmp_path / "console"}[words[0]]
                eventually(f"{words[0]} to be at work", lambda: listens(waits_for))
            else:
                assert process.wait(BOOT) == 0
        with Console(tmp_path / "console") as console:
            assert console.wait_ready(BOOT)[1] == 2
            console.type("poweroff\n")
        assert [process.wait(BOOT) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
            process.wait()
