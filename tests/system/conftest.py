# SPDX-License-Identifier: MIT
"""Fixtures of the whole-program tests.

The client package and the schema come from PYTHONPATH, else from the source
tree and the build; where the build made no Python schema, protoc makes one in a
temporary directory.
"""

import atexit
import importlib.util
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import guests  # noqa: E402  (needs the path)
import harness  # noqa: E402
import perf  # noqa: E402


def have(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def find_packages():
    if not have("kvmcpu.server"):
        sys.path.append(str(harness.ROOT / "client" / "python"))
    if have("kvmcpud.v1.exit_pb2"):
        return
    built = harness.BUILD / "client" / "python"
    if (built / "kvmcpud" / "v1" / "exit_pb2.py").exists():
        sys.path.append(str(built))
        return
    if not shutil.which("protoc"):
        pytest.exit("no Python schema in the build and no protoc: run make, or install "
                    "protobuf-compiler", returncode=1)
    made = tempfile.mkdtemp(prefix="kvmcpu-schema-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    protos = sorted((harness.ROOT / "proto" / "kvmcpud" / "v1").glob("*.proto"))
    subprocess.run(["protoc", f"-I{harness.ROOT / 'proto'}", f"--python_out={made}",
                    *map(str, protos)], check=True)
    sys.path.append(made)


find_packages()


def pytest_configure(config):
    config.addinivalue_line("markers", "quick: the test that tools/check --quick runs")
    if not harness.KVMCPUD.exists():
        pytest.exit(f"{harness.KVMCPUD} is missing: run make, or name the build in KVMCPUD_BUILD",
                    returncode=1)


def why_no_kvm():
    """Why no guest can run here, or None."""
    try:
        os.close(os.open("/dev/kvm", os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"/dev/kvm: {error.strerror}"
    return None


@pytest.fixture
def start():
    """Starts a Daemon with the command-line words given; ends and checks it after the test."""
    why = why_no_kvm()
    if why:
        pytest.skip(why)
    started = []

    def begin(*options, **more):
        started.append(harness.Daemon(*options, **more))
        return started[-1]

    yield begin
    errors = []
    for daemon in reversed(started):
        try:
            daemon.finish()
        except AssertionError as error:
            errors.append(error)
    if errors:
        raise errors[0]


@pytest.fixture
def tracepoint():
    """Skips, with the reason, where the kernel's count of exits cannot be had."""
    try:
        with perf.tracepoint():
            yield
    except perf.Unavailable as why:
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def guest(tmp_path_factory):
    """guests.Assembler: guest("loop", mode="long", N=100) gives the daemon's options for it."""
    return guests.Assembler(tmp_path_factory.mktemp("guests"))


@pytest.fixture
def refused(tmp_path_factory):
    """Runs kvmcpud, which must not start; checks status and message; returns the line."""
    base = tmp_path_factory.mktemp("r")

    def run(status, pattern, *options, name="t", runtime_dir=base, **more):
        before = tree(base)
        words = [str(word) for word in (
            harness.KVMCPUD, *(["--name", name] if name is not None else []),
            *(["--runtime-dir", runtime_dir] if runtime_dir else []), *options)]
        done = subprocess.run(words, capture_output=True, text=True, check=False,
                              timeout=harness.DEADLINE, **more)
        lines = done.stderr.splitlines()
        assert done.returncode == status, done
        assert len(lines) == 1, f"not one line: {lines}"
        assert lines[0].startswith("kvmcpud"), lines
        assert re.search(pattern, lines[0]), f"{lines[0]!r} lacks {pattern!r}"
        assert not done.stdout
        assert tree(base) == before, "something was left on disk"
        return lines[0]

    run.base = base
    return run


def tree(base):
    return sorted(os.path.join(top, name) for top, directories, files in os.walk(base)
                  for name in directories + files)


@pytest.fixture
def image(tmp_path):
    """Makes a file; returns its path."""
    def make(size, name="image", byte=b"\xf4"):
        path = tmp_path / name
        with open(path, "wb") as file:
            file.write(byte * min(size, 1 << 20))
            file.truncate(size)
        return path
    return make


def pytest_runtest_makereport(item, call):
    """Shows the daemons' logs beside a failure."""
    if call.when != "call" or call.excinfo is None or call.excinfo.errisinstance(
            pytest.skip.Exception):
        return
    begin = item.funcargs.get("start")
    for daemon in getattr(begin, "__closure__", None) and begin.__closure__[0].cell_contents or ():
        item.add_report_section("call", "kvmcpud", daemon.stderr[-4000:])
