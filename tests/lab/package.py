# SPDX-License-Identifier: MIT
"""Debian packages that are looked into rather than installed: each is fetched once,
and what is wanted of it stays under the cache directory.
"""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile


class Missing(Exception):
    """Something that is needed is not there; the text says what to do."""


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    where = pathlib.Path(base) / "kvmcpud" / "lab"
    where.mkdir(parents=True, exist_ok=True)
    return where


def say(text):
    print(f"tools/lab: {text}", file=sys.stderr, flush=True)


def run(command, otherwise, **more):
    """What a program prints; Missing with the last line of what it said if it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              **more)
    except FileNotFoundError:
        raise Missing(f"{command[0]} is missing; {otherwise}") from None
    if done.returncode:
        said = (done.stderr.strip() or "no message").splitlines()[-1]
        raise Missing(f"{command[0]} failed ({said}); {otherwise}")
    return done.stdout


def fetch(name, size, keep):
    """The directory with what keep(everything, kept) moved or copied from the unpacked
    package, a directory, to another. size, for the message, is such as "30 MB"."""
    target = cache() / name
    if target.is_dir():
        return target
    advice = f"run apt-get update as root; Debian's package {name} is needed"
    say(f"fetching {name} (about {size}) into {target.parent}; it is not installed")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        work = pathlib.Path(work)
        run(["apt-get", "download", "-q", name], advice, cwd=work)
        run(["dpkg-deb", "-x", str(next(work.glob("*.deb"))), str(work / "all")],
            "is the package whole?")
        (work / "kept").mkdir()
        keep(work / "all", work / "kept")
        try:
            (work / "kept").rename(target)
        except OSError:
            if not target.is_dir():  # else somebody else was faster
                raise
    return target


def find(name, path, size):
    """One file of a package, as a path below the cache directory."""
    def keep(everything, kept):
        (kept / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(everything / path, kept / path)
    return fetch(name, size, keep) / path
