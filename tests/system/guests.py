# SPDX-License-Identifier: MIT
"""Assembles tests/guest/NAME.S with GNU as into a flat image.

Each guest is written once for all modes: mode.inc brings it to the mode that
the symbol MODE names and takes it to its halt at the end. Parameters are
assembly-time symbols (as --defsym).
"""

import subprocess

from harness import ROOT

SOURCES = ROOT / "tests" / "guest"
HEADERS = ROOT / "client" / "guest"  # what guests may include
AT = 0x8000  # where images go: behind the daemon's tables, within real mode's first segment
COUNTS = 0x9000  # per vCPU 8 bytes, written by the guests; mode.inc has the whole layout

# By the name that tests use: the symbol MODE, and the daemon's --mode.
MODES = {"real": (0, "real"), "protected": (1, "protected"), "long": (2, "long"),
         "user": (3, "long")}
EVERY_MODE = tuple(MODES)


class Assembler:
    """Called with a guest's name and its parameters, gives the daemon's options.

    mode is real, protected, long (CPL 0) or user (long mode at CPL 3).
    """

    def __init__(self, directory):
        self._directory = directory
        self._made = {}

    def image(self, name, mode="long", **symbols):
        """The image's path."""
        symbols["MODE"] = MODES[mode][0]
        key = (name, tuple(sorted(symbols.items())))
        if key not in self._made:
            self._made[key] = self._assemble(name, symbols, len(self._made))
        return self._made[key]

    def __call__(self, name, mode="long", cpus=1, **symbols):
        path = self.image(name, mode, **symbols)
        return ["--image", f"{path}@{AT:#x}", "--entry", f"{AT:#x}", "--mode", MODES[mode][1],
                "--cpus", str(cpus)]

    def _assemble(self, name, symbols, number):
        target = self._directory / f"{name}-{number}"
        defines = [word for key, value in symbols.items()
                   for word in ("--defsym", f"{key}={value}")]
        run("as", "--64", "-I", SOURCES, "-I", HEADERS, *defines, "-o", f"{target}.o", SOURCES / f"{name}.S")
        run("ld", "-m", "elf_x86_64", f"-Ttext={AT:#x}", "-e", hex(AT), "--oformat", "binary",
            "-o", f"{target}.bin", f"{target}.o")
        return f"{target}.bin"


def run(*command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
