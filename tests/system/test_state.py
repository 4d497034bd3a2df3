# SPDX-License-Identifier: MIT
"""A kvmcpu-pc that is killed, and the one that comes after it with the same state:
the guest notices nothing, and no byte is there twice or not at all.
"""

import pathlib

import pc
import pytest
from devices import counts
from harness import DEADLINE, KVMCPU_PC, LONG, eventually, load


def beyond(control, count):
    eventually(f"more than {count} bytes", lambda: counts(control)[0] > count, DEADLINE)
    return counts(control)[0]


@pytest.mark.parametrize("kind", [2, 0], ids=["polling", "interrupts"])
def test_killed_in_the_middle_of_output(start, guest, tmp_path, kind):
    count, out = load(50000, least=12000), tmp_path / "out"
    daemon = start(*guest("serial", KIND=kind, COUNT=count), "--irqchip", "kernel", "--paused")
    control = daemon.control()
    options = ["--serial", out, "--state", tmp_path / "state"]
    child = pc.spawn(daemon, *options)
    control.resume()
    for _ in range(load(16, least=4)):
        beyond(control, counts(control)[0] + 1000)
        child.kill()
        child = pc.spawn(daemon, *options)
    eventually("the end of the text", lambda: counts(control) == [count], LONG)
    assert out.read_bytes() == pc.pattern(count)


def test_killed_with_input_under_way(start, guest, tmp_path):
    """What the guest had not fetched yet is fetched from the next process."""
    daemon = start(*guest("serial", KIND=1, COUNT=0), "--irqchip", "kernel", "--paused")
    control = daemon.control()
    options = ["--serial", f"unix:{tmp_path}/line", "--state", tmp_path / "state"]
    child = pc.spawn(daemon, *options)
    control.resume()
    pc.begun(control)
    control.pause()
    line = pc.connect(tmp_path / "line")
    line.type(b"sixteen bytes it")
    state = tmp_path / "state"
    eventually("they are in the port", lambda: b"sixteen bytes it" in state.read_bytes())
    child.kill()
    line.close()
    pc.spawn(daemon, *options)
    control.resume()
    eventually("they are in the guest", lambda: counts(control) == [16])
    assert control.read_memory(pc.INPUT, 16) == b"sixteen bytes it"


def test_another_vms_state_is_not_used(start, guest, tmp_path):
    out, options = tmp_path / "out", ["--state", tmp_path / "state"]
    for count in (3000, 2000):
        daemon = start(*guest("serial", KIND=2, COUNT=count), "--irqchip", "kernel", "--paused")
        control = daemon.control()
        child = pc.spawn(daemon, "--serial", out, *options)
        control.resume()
        eventually("the end of the text", lambda: counts(control) == [count], DEADLINE)
        assert out.read_bytes() == pc.pattern(count)
        child.kill()


@pytest.mark.parametrize("text, says", [
    (b"my holiday pictures", "is no state"),
    (bytes(8) + b"\1" * 20472, None),
    (b"kvmcpust\2" + bytes(20471), "is no state"),
])
def test_a_file_that_is_no_state(start, guest, tmp_path, text, says):
    state = tmp_path / "state"
    state.write_bytes(text)
    daemon = start(*guest("serial", KIND=1, COUNT=0), "--irqchip", "kernel")
    if says is None:
        pc.spawn(daemon, "--state", state, "--serial", "pty")
        return
    child = daemon.spawn([KVMCPU_PC, *daemon.words, "--state", state], "pc")
    assert child.wait() == 74
    assert len(child.stderr.splitlines()) == 1 and says in child.stderr
    assert state.read_bytes() == text


def test_a_state_serves_one_process(start, guest, tmp_path):
    daemon = start(*guest("serial", KIND=1, COUNT=0), "--irqchip", "kernel")
    pc.spawn(daemon, "--state", tmp_path / "state")
    second = daemon.spawn([KVMCPU_PC, *daemon.words, "--state", tmp_path / "state"], "second")
    assert second.wait() == 74 and "another process" in second.stderr


def test_a_resets_devices_are_fresh_and_the_output_goes_on(start, guest, tmp_path):
    """With --on-reset restart the same process serves again, as just switched on."""
    out = tmp_path / "out"
    daemon = start(*guest("serial", KIND=4, COUNT=20), "--irqchip", "kernel", "--paused",
                   "--on-reset", "restart")
    control = daemon.control()
    child = pc.spawn(daemon, "--serial", out, "--state", tmp_path / "state")
    control.resume()
    eventually("three runs", lambda: len(out.read_bytes()) >= 60, DEADLINE)
    control.stop()
    daemon.ended()
    assert child.wait() == 0
    runs = (len(out.read_bytes()) + 19) // 20
    assert (pc.pattern(20) * runs).startswith(out.read_bytes())
    assert child.stderr.count("guest reset") >= 2
    assert pathlib.Path(tmp_path / "state").exists()
