# SPDX-License-Identifier: MIT
"""How kvmcpud starts, and how it refuses to: each refusal has its exit status and one
message that says what to do, and leaves nothing behind.
"""

import os
import pathlib
import shutil
import subprocess

import pytest
from devices import PORT, Counter, counts, halted
from guests import AT
from harness import BUSY, DEADLINE, IMAGE, KVMCPUD, NO_KVM, RUNTIME, USAGE, environment

from kvmcpu.schema import control as messages
from kvmcpu.schema import hello

WRITE = 0
N = 10


@pytest.fixture
def work(guest):
    """The options for a guest that writes N times and halts."""
    return guest("loop", PORT=PORT, KIND=WRITE, N=N)


def refused(tmp_path, *options, runtime_dir=None, prefix=()):
    """Runs a daemon that must not come up; returns its status and what it said."""
    where = runtime_dir or tmp_path / "run"
    done = subprocess.run([*prefix, KVMCPUD, "--name", "t", "--runtime-dir", where, *options],
                          capture_output=True, text=True, timeout=DEADLINE, env=environment())
    assert not done.stdout
    assert "kvmcpud" in done.stderr.split(":")[0]
    assert not pathlib.Path(where, "t").exists(), "it left its directory behind"
    return done.returncode, done.stderr


def test_a_second_daemon_of_the_same_name_is_refused(start, work):
    first = start(*work)
    second = start(*work, runtime_dir=first.runtime_dir, wait=False)
    assert second.wait() == BUSY
    assert str(first.pid) in second.stderr and "--name" in second.stderr
    control = first.control()
    halted(control)
    assert counts(control) == [N], "the first is none the worse"
    other = start(*work, runtime_dir=first.runtime_dir, name="other")
    halted(other.control())
    other.stop()
    first.stop()


def test_sockets_left_by_a_crash_are_replaced(start, work):
    first = start(*work)
    first.kill()
    assert set(os.listdir(first.directory)) == {"lock", "device.sock", "monitor.sock",
                                                "control.sock"}
    second = start(*work, runtime_dir=first.runtime_dir)
    counter = Counter()
    second.serve(counter)
    control = second.control()
    halted(control)
    assert control.status().pid == second.pid
    second.stop()


def test_sockets_are_for_the_owner_alone(start, work):
    daemon = start(*work)
    for role in ("device", "monitor", "control"):
        assert os.stat(daemon.path(role)).st_mode & 0o077 == 0


def ini(options):
    """Command-line words as lines of an INI file."""
    lines, words = ["[vm]"], list(options)
    while words:
        name = words.pop(0).removeprefix("--")
        value = words.pop(0) if words and not words[0].startswith("--") else "yes"
        lines.append(f"{name} = {value}")
    return "\n".join(lines) + "\n"


def observed(start, *options):
    """What can be told from outside of how a daemon was started."""
    daemon = start(*options)
    control = daemon.control()
    status = control.wait_until(lambda s: s.state == messages.VM_STATE_PAUSED)
    assert status.vm.instance != 0
    status.vm.ClearField("instance")  # each start's own
    found = (status.vm.SerializeToString(), status.state, list(status.notes),
             [(vcpu.paused, vcpu.state) for vcpu in status.vcpus],
             control.memory_map().SerializeToString(), control.read_memory(AT, 64),
             control.read_memory(0x3000, 4), control.dump(1).groups[0].SerializeToString())
    daemon.stop()
    return found, daemon.stderr.splitlines()[0].partition("sockets in")[0]


def test_a_configuration_file_is_the_command_line(start, guest, tmp_path):
    (tmp_path / "more").write_bytes(b"more")
    options = [*guest("loop", mode="real", cpus=3, PORT=PORT, KIND=WRITE, N=N), "--memory", "3M",
               "--irqchip", "kernel", "--paused", "--strict", "--log-level", "debug",
               "--image", f"{tmp_path / 'more'}@0x3000", "--exit-on-failure"]
    file = tmp_path / "vm.ini"
    file.write_text(ini(options))
    by_file, by_words = observed(start, "--config", str(file)), observed(start, *options)
    assert by_file == by_words
    assert hello.VmInfo.FromString(by_file[0][0]).vcpus == 3


def test_the_command_line_comes_behind_the_file(start, work, tmp_path):
    file = tmp_path / "vm.ini"
    file.write_text(ini(["--cpus", "7", "--memory", "2M", "--paused"]))
    daemon = start("--config", str(file), *work)
    status = daemon.control().status()
    assert (status.vm.vcpus, status.vm.memory_bytes) == (1, 2 << 20)
    assert status.vcpus[0].paused


@pytest.mark.parametrize("text, said", [
    ("[vm]\nmemroy = 1M\n", "memroy"), ("[cpu]\ncpus = 1\n", "cpu"),
    ("[vm]\ncpus = many\n", "1 to 64"),
    ("[vm]\njust words\n", "line 2"), ("[vm]\npaused = maybe\n", "yes or no")])
def test_a_bad_configuration_file(tmp_path, text, said):
    file = tmp_path / "vm.ini"
    file.write_text(text)
    status, message = refused(tmp_path, "--config", str(file))
    assert status == USAGE and said in message and str(file) in message


@pytest.mark.parametrize("options, said", [
    (["--no-such-option"], "no-such-option"), (["word"], "word"), (["--cpus", "0"], "1 to 64"),
    (["--cpus", "65"], "1 to 64"), (["--memory", "1X"], "64M"), (["--mode", "long"], "--entry"),
    ([], "--image"), (["--entry", "0x8000"], "--image"),
    (["--config", "/nonexistent"], "nonexistent"),
    (["--irqchip", "some"], "none or kernel"), (["--log-level", "loud"], "debug")])
def test_usage(tmp_path, options, said):
    status, message = refused(tmp_path, *options)
    assert status == USAGE and said in message


def test_a_bad_image(start, tmp_path, guest):
    big = tmp_path / "big"
    big.write_bytes(bytes(2 << 20))
    entry = ["--entry", "0x8000", "--memory", "1M"]
    for options in ([*entry, "--image", f"{tmp_path / 'absent'}@0"],
                    [*entry, "--image", f"{big}@0"],
                    [*entry, "--image", f"{tmp_path}@0"],
                    [*entry, "--image", f"{KVMCPUD}@0xfffffffffffffff0"],
                    ["--firmware", str(tmp_path / "absent")]):
        status, message = refused(tmp_path, *options)
        assert status == IMAGE, message
    (tmp_path / "tables").write_bytes(b"x" * 4097)
    status, message = refused(tmp_path, *guest("loop", PORT=PORT, KIND=WRITE, N=N), "--image",
                              f"{tmp_path / 'tables'}@0")
    assert status == IMAGE and "load it elsewhere" in message


def test_no_kvm(tmp_path, work):
    """An empty /dev, in a mount name space of the daemon's own."""
    words = ["unshare", "--mount", "--map-root-user"] if os.geteuid() else ["unshare", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*words, "true"],
                                                     capture_output=True).returncode:
        pytest.skip("unshare cannot make a mount name space here")
    hide = [*words, "sh", "-c", 'mount -t tmpfs tmpfs /dev && exec "$@"', "sh"]
    status, message = refused(tmp_path, *work, prefix=hide)
    assert status == NO_KVM and "/dev/kvm" in message


def test_no_runtime_directory(tmp_path, work):
    file = tmp_path / "file"
    file.write_text("")
    status, message = refused(tmp_path, *work, runtime_dir=file / "below")
    assert status == RUNTIME and "--runtime-dir" in message
    status, message = refused(tmp_path, *work, runtime_dir=tmp_path / ("x" * 120))
    assert status == RUNTIME and "108 bytes" in message


def test_help_and_version():
    for option, text in (("--help", "--exit-on-failure"), ("--version", "protocol 1.")):
        done = subprocess.run([KVMCPUD, option], capture_output=True, text=True)
        assert done.returncode == 0 and text in done.stdout and not done.stderr
