# SPDX-License-Identifier: MIT
"""The lab's kernel: Debian's cloud kernel, fetched as a package and never installed.

What the lab needs of it (the bzImage and a few modules, named in the order in
which they must be loaded) stays under the cache directory; a kernel that is
there is not fetched again. The program that runs first in the lab, init.c, is
compiled beside it.
"""

import hashlib
import lzma
import pathlib
import re
import shutil
import tempfile

import package

META = "linux-image-cloud-amd64"  # names the newest cloud kernel
MODULES = ("virtio_pci", "virtio_console", "overlay", "virtiofs", "kvm-amd")
INIT = pathlib.Path(__file__).resolve().parent / "init.c"


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


def _keep(everything, kept):
    shutil.move(next((everything / "boot").glob("vmlinuz-*")), kept / "vmlinuz")
    for number, path in enumerate(_in_loading_order(everything / "lib" / "modules")):
        shutil.copy(path, kept / f"{number:02}-{path.name}")


def _newest():
    """What the package META names now."""
    advice = f"the lab needs Debian's package {META}, to be had with apt-get from bookworm or later"
    depends = package.run(["apt-cache", "depends", META], advice)
    name = re.search(r"Depends: (linux-image-\S+)", depends)
    if not name:
        raise package.Missing(f"apt knows no {META}: run apt-get update as root; {advice}")
    return name[1]


def find():
    """The directory with vmlinuz and NN-MODULE.ko, fetched if need be."""
    there = sorted(path.parent for path in package.cache().glob("linux-image-*/vmlinuz"))
    return there[-1] if there else package.fetch(_newest(), "30 MB", _keep)


def init():
    """init.c as a static program, compiled if it is new."""
    compiled = package.cache() / f"init-{hashlib.sha256(INIT.read_bytes()).hexdigest()[:16]}"
    if not compiled.exists():
        with tempfile.TemporaryDirectory(dir=compiled.parent) as work:
            made = pathlib.Path(work) / "init"
            package.run(["gcc", "-O1", "-static", "-Wall", "-o", str(made), str(INIT)],
                        "the lab needs the packages gcc and libc6-dev")
            made.rename(compiled)
    return compiled
