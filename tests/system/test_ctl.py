# SPDX-License-Identifier: MIT
"""kvmcpuctl: each command as a person types it and as a script does (--json), and what it
says and returns when it cannot.
"""

import json
import os
import subprocess

import pytest
from devices import PORT, Counter, halted
from google.protobuf import descriptor_pb2
from harness import DEADLINE, KVMCPUCTL

USAGE, REFUSED, NO_DAEMON, LATE = 64, 65, 69, 75
WRITE = 0
N = 20
RBX = "1122334455667788"


def ctl(daemon, *words, expect=0, text=True):
    """Runs kvmcpuctl on the daemon's VM; returns what it printed, or said if it failed."""
    done = subprocess.run([str(KVMCPUCTL), *words, *daemon.words], capture_output=True,
                          timeout=DEADLINE, stdin=subprocess.DEVNULL)
    out, err = done.stdout, done.stderr.decode()
    assert done.returncode == expect, f"status {done.returncode}: {err}"
    if expect == 0:
        assert not err, err
        return out.decode() if text else out
    assert bool(out) == (expect == LATE), "only a pause that comes too late answers all the same"
    return err


def ctl_json(daemon, *words):
    """The result within the daemon's Response."""
    answer = json.loads(ctl(daemon, *words, "--json"))
    assert isinstance(answer, dict)
    answer.pop("id", None)
    (result,) = answer.values()
    return result


@pytest.fixture
def daemon(start, guest):
    """Two vCPUs that have written N times each to a device."""
    made = start(*guest("loop", cpus=2, PORT=PORT, KIND=WRITE, N=N), "--paused", "--memory", "4M")
    made.serve(Counter(), name="the device")
    control = made.control()
    control.resume()
    halted(control)
    return made


@pytest.mark.parametrize("words, texts, keys", [
    (["status"], ["t", "idle"], {"vm", "state", "pid", "vcpus"}),
    (["pause"], ["paused"], {"vm", "state", "vcpus"}),
    (["pause", "--vcpu", "0-1", "--timeout", "500"], ["paused"], {"state", "vcpus"}),
    (["resume", "--vcpu", "1"], ["idle"], {"state", "vcpus"}),
    (["stats"], ["counter"], {"vcpus", "claims"}),
    (["dump", "--vcpu", "1"], ["rip", "cr3"], {"vcpu", "groups", "code"}),
    (["clients"], ["the device", "counter"], {"clients", "claims"}),
    (["memory", "read", "0x9000", "16"], ["9000", f"{N:02x} 00"], {"address", "data"}),
    (["ping"], [], set()),
])
def test_commands(daemon, words, texts, keys):
    said = ctl(daemon, *words)
    for text in texts:
        assert text in said
    assert set(ctl_json(daemon, *words)) >= keys


def test_json_says_what_the_protocol_says(daemon):
    status, stats = ctl_json(daemon, "status"), ctl_json(daemon, "stats")
    assert int(status["pid"]) == daemon.pid
    assert [int(vcpu["exit_seq"]) for vcpu in status["vcpus"]] == [N + 1] * 2
    assert [int(vcpu["num_io"]) for vcpu in stats["vcpus"]] == [N] * 2
    assert int(stats["claims"][0]["writes"]) == 2 * N


def test_memory_written_is_read_back(daemon, tmp_path):
    ctl(daemon, "memory", "write", "0x100000", "00ff10ab")
    raw = ctl(daemon, "memory", "read", "0x100000", "4", "--raw", text=False)
    assert raw == b"\x00\xff\x10\xab"
    target = tmp_path / "ram"
    ctl(daemon, "memory", "read", "0", "4M", "--output", str(target))
    data = target.read_bytes()
    assert len(data) == 4 << 20 and data[0x100000:0x100004] == b"\x00\xff\x10\xab"


def test_schema_to_a_file(daemon, tmp_path):
    target = tmp_path / "schema"
    ctl(daemon, "schema", "--output", str(target))
    assert descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file


def test_monitor_prints_one_line_per_exit(start, guest):
    daemon = start(*guest("loop", cpus=2, PORT=PORT, STRIDE=1, KIND=WRITE, N=N), "--paused")
    control = daemon.control()
    words = [KVMCPUCTL, "monitor", *daemon.words, "--no-states", "-n", N]
    plain = daemon.spawn([*words, "--vcpu", "1", "--kind", "pio"], "plain")
    ranged = daemon.spawn([*words, "--range", f"pio:{PORT}", "--json"], "json")
    control.wait_until(lambda s: len(control.clients().clients) == 3)
    control.resume()
    assert plain.wait() == ranged.wait() == 0
    lines = plain.stdout.decode().splitlines()
    assert len(lines) == N and all(f"{PORT + 1:x}" in line for line in lines)
    objects = [json.loads(line) for line in ranged.stdout.splitlines()]
    assert len(objects) == N and all(int(o["exit"]["exit"]["pio"]["port"]) == PORT for o in objects)


def test_stop_gives_the_daemon_its_status(daemon):
    ctl(daemon, "stop", "--code", "5", "--reason", "by hand")
    daemon.ended(expect=5)
    assert "by hand" in daemon.stderr


def test_pause_that_comes_too_late_says_who_holds_it(start, guest):
    daemon = start(*guest("loop", PORT=PORT, KIND=WRITE, N=1), "--paused")
    daemon.serve(Counter(), name="goner").close()
    daemon.control().resume()
    said = ctl(daemon, "pause", "--timeout", "20", expect=LATE)
    assert "goner" in said or "vCPU 0" in said


@pytest.mark.parametrize("words, status, said", [
    (["statsu"], USAGE, "stats"),
    (["moniter"], USAGE, "monitor"),
    (["no-such-thing"], USAGE, "no-such-thing"),
    (["memory"], USAGE, "memory"),
    (["memory", "read", "0x1000"], USAGE, "SIZE"),
    (["memory", "write", "0", "abc"], USAGE, "hexadecimal"),
    (["pause", "--vcpu", "x"], USAGE, "x"),
    (["monitor", "--kind", "poi"], USAGE, "pio"),
    (["dump", "--vcpu", "7"], REFUSED, "vCPU 7"),
    (["memory", "read", "0x10000000", "1"], REFUSED, "0x10000000"),
    (["pause", "--vcpu", "5"], REFUSED, "vCPU 5"),
])
def test_mistakes_are_explained(daemon, words, status, said):
    assert said in ctl(daemon, *words, expect=status)
    assert ctl_json(daemon, "status")["vcpus"], "the VM is none the worse"


class Nowhere:
    """Where no daemon runs."""

    words = ["--vm", "absent", "--runtime-dir", os.path.join(os.sep, "tmp", "kv-nowhere")]


@pytest.mark.parametrize("words", [["status"], ["ping"], ["monitor"], ["stop"],
                                   ["memory", "read", "0", "1"]])
def test_no_daemon(words):
    said = ctl(Nowhere, *words, expect=NO_DAEMON)
    assert "absent" in said and "kvmcpud" in said


def test_help_and_version():
    for words in (["--help"], ["--version"], ["status", "--help"]):
        done = subprocess.run([KVMCPUCTL, *words], capture_output=True, text=True)
        assert done.returncode == 0 and "kvmcpuctl" in done.stdout
    done = subprocess.run([KVMCPUCTL], capture_output=True, text=True)
    assert done.returncode == USAGE and "--help" in done.stderr
