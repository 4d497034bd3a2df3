# SPDX-License-Identifier: MIT
"""Finding a daemon, being refused by one, and daemons that misbehave at Hello."""

import os

import kvmcpu
import pytest
from fake_daemon import hello_reply
from kvmcpu.connection import client_name, socket_path
from kvmcpud.v1 import hello_pb2


class Port(kvmcpu.Device):
    @kvmcpu.pio_read(0x10)
    def read(self, access):
        return 1


def server(daemon, **options):
    return kvmcpu.Server([Port()], runtime_dir=daemon.runtime_dir, **options)


def test_paths(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/x")
    assert socket_path("device") == "/x/kvmcpud/default/device.sock"
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert socket_path("control", "a.b") == "/run/kvmcpud/a.b/control.sock"
    assert socket_path("monitor", "v", "/d") == "/d/v/monitor.sock"


@pytest.mark.parametrize("name", ["", ".", "..", ".x", "a/b", "a\n", "é", "x" * 65])
def test_names_that_no_vm_has(name):
    with pytest.raises(ValueError, match="no name of a VM"):
        socket_path("device", name)


def test_client_names_are_printable_and_bounded():
    assert client_name("a\nb\u00e9") == "a?b?"
    assert len(client_name("x" * 100)) == 64


def test_no_daemon_says_where_and_how_to_start_one(tmp_path):
    with pytest.raises(kvmcpu.ConnectError) as caught:
        kvmcpu.Control(vm="gone", runtime_dir=tmp_path)
    assert str(tmp_path / "gone" / "control.sock") in str(caught.value)
    assert "kvmcpud --name gone" in str(caught.value)


def test_a_path_too_long_for_a_socket(tmp_path):
    with pytest.raises(kvmcpu.ConnectError, match="too long"):
        kvmcpu.Control(runtime_dir=tmp_path / ("x" * 120))


def test_hello_carries_version_name_and_claims(daemon):
    seen = []

    def script(peer):
        seen.append(peer.hello)
        peer.stopped()

    daemon("device", script)
    with server(daemon, name="me", vcpus=[1]) as served:
        assert served.vm.memory_bytes == 128 << 20
        assert served.client_id == 3
        assert served.serve_forever().message == "the VM ends"
    hello = seen[0]
    assert (hello.major, hello.minor, hello.client) == (1, 1, "me")
    assert list(hello.device.vcpus) == [1]
    claim, = hello.device.claims
    assert (claim.space, claim.first, claim.last) == (hello_pb2.SPACE_PIO, 0x10, 0x10)
    assert (claim.name, claim.absence) == ("port", hello_pb2.ABSENCE_FREEZE)


def test_refusal_carries_status_and_sentence(daemon):
    refusal = hello_reply(status=hello_pb2.HELLO_STATUS_OVERLAP, message="pio 0x10 is pc's")
    daemon("device", lambda peer: None, reply=refusal)
    with pytest.raises(kvmcpu.Refused, match="overlap.*pio 0x10 is pc's") as caught:
        server(daemon)
    assert caught.value.status == hello_pb2.HELLO_STATUS_OVERLAP


@pytest.mark.parametrize("data, error", [
    (b"", kvmcpu.Closed),
    (b"\x05\x08", kvmcpu.ProtocolError),
    (b"\x03\xff\xff\xff", kvmcpu.ProtocolError),
    (b"\xff\xff\xff\xff\x7f", kvmcpu.ProtocolError),
    (b"\x81\x80\x04", kvmcpu.ProtocolError),
])
def test_bad_answers_to_hello(daemon, data, error):
    before = len(os.listdir("/proc/self/fd"))
    fake = daemon("device", lambda peer: peer.raw(data), greet=False)
    with pytest.raises(error):
        server(daemon)
    fake.finish()
    assert len(os.listdir("/proc/self/fd")) <= before
