# SPDX-License-Identifier: MIT
"""Puts the package and the generated schema on the path, and gives tests a fake daemon.

The schema comes from PYTHONPATH if it is there, else from an in-tree build,
else protoc makes it in a temporary directory.
"""

import atexit
import importlib.util
import pathlib
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE.parent), str(HERE)]


def find_schema():
    try:
        if importlib.util.find_spec("kvmcpud.v1.exit_pb2"):
            return
    except ModuleNotFoundError:
        pass
    built = ROOT / "build" / "client" / "python"
    if (built / "kvmcpud" / "v1" / "exit_pb2.py").exists():
        sys.path.append(str(built))
        return
    if not shutil.which("protoc"):
        pytest.exit("no generated schema and no protoc: run make first, or install "
                    "protobuf-compiler", returncode=1)
    made = tempfile.mkdtemp(prefix="kvmcpu-schema-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    protos = sorted(map(str, (ROOT / "proto" / "kvmcpud" / "v1").glob("*.proto")))
    subprocess.run(["protoc", f"-I{ROOT / 'proto'}", f"--python_out={made}", *protos], check=True)
    sys.path.append(made)


find_schema()

from fake_daemon import FakeDaemon  # noqa: E402  (needs the path)


@pytest.fixture
def daemon(tmp_path):
    """A function that starts a FakeDaemon for a role with a script; checks it at the end."""
    started = []

    def start(role, script, **options):
        started.append(FakeDaemon(tmp_path, role, script, **options))
        return started[-1]

    start.runtime_dir, start.started = tmp_path, started
    yield start
    for fake in started:
        fake.finish()
