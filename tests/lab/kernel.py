# SPDX-License-Identifier: MIT
"""The lab's kernel: Debian's cloud kernel, fetched as a package and never installed.

What the lab needs of it (the bzImage and a few modules, named in the order in
which they must be loaded) stays under the cache directory; a kernel that is
there is not fetched again. The program that runs first in the lab, init.c, is
compiled beside it.
"""

import hashlib
import lzma
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

META = "linux-image-cloud-amd64"  # names the newest cloud kernel
MODULES = ("virtio_pci", "virtio_console", "overlay", "virtiofs", "kvm-amd")
INIT = pathlib.Path(__file__).resolve().parent / "init.c"


class Missing(Exception):
    """Something that the lab needs is not there; the text says what to do."""


def cache():
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    where = pathlib.Path(base) / "kvmcpud" / "lab"
    where.mkdir(parents=True, exist_ok=True)
    return where


def say(text):
    print(f"tools/lab: {text}", file=sys.stderr, flush=True)


def _run(command, otherwise, **more):
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


def _depends(module):
    """The names of the modules that a module needs, which stand in it."""
    for line in module.read_bytes().split(b"\0"):
        if line.startswith(b"depends="):
            return [name for name in line[8:].decode().split(",") if name]
    return []


def _in_loading_order(directory):
    """The files of MODULES and what they need, each behind what it needs."""
    files = {path.name.partition(".")[0].replace("-", "_"): path
             for path in directory.rglob("*.ko*")}
    order = []

    def add(name):
        path = files.get(name.replace("-", "_"))
        if path is None:
            return  # built in
        if path.suffix == ".xz":
            path = path.with_suffix("")
            path.write_bytes(lzma.decompress(path.with_suffix(".ko.xz").read_bytes()))
            files[name.replace("-", "_")] = path
        for other in _depends(path):
            add(other)
        if path not in order:
            order.append(path)

    for name in MODULES:
        add(name)
    return order


def _unpack(package, target):
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        work = pathlib.Path(work)
        _run(["dpkg-deb", "-x", str(package), str(work / "all")], "is the package whole?")
        kept = work / "kept"
        kept.mkdir()
        shutil.move(next((work / "all" / "boot").glob("vmlinuz-*")), kept / "vmlinuz")
        for number, path in enumerate(_in_loading_order(work / "all" / "lib" / "modules")):
            shutil.copy(path, kept / f"{number:02}-{path.name}")
        try:
            kept.rename(target)
        except OSError:
            if not target.is_dir():  # else somebody else was faster
                raise


def _fetch():
    advice = f"the lab needs Debian's package {META}, to be had with apt-get from bookworm or later"
    depends = _run(["apt-cache", "depends", META], advice)
    name = re.search(r"Depends: (linux-image-\S+)", depends)
    if not name:
        raise Missing(f"apt knows no {META}: run apt-get update as root; {advice}")
    name = name[1]
    target = cache() / name
    say(f"fetching {name} (about 30 MB) into {target.parent}; it is not installed")
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        _run(["apt-get", "download", "-q", name], f"run apt-get update as root; {advice}",
             cwd=work)
        _unpack(next(pathlib.Path(work).glob("*.deb")), target)
    return target


def find():
    """The directory with vmlinuz and NN-MODULE.ko, fetched if need be."""
    there = sorted(path.parent for path in cache().glob("linux-image-*/vmlinuz"))
    return there[-1] if there else _fetch()


def init():
    """init.c as a static program, compiled if it is new."""
    compiled = cache() / f"init-{hashlib.sha256(INIT.read_bytes()).hexdigest()[:16]}"
    if not compiled.exists():
        with tempfile.TemporaryDirectory(dir=compiled.parent) as work:
            made = pathlib.Path(work) / "init"
            _run(["gcc", "-O1", "-static", "-Wall", "-o", str(made), str(INIT)],
                 "the lab needs the packages gcc and libc6-dev")
            made.rename(compiled)
    return compiled
