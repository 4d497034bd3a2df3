# SPDX-License-Identifier: MIT
"""The state file: its form, its refusals, a process killed at any of its stores, and
what a server makes of it."""

import os
import struct

import exits
import kvmcpu
import pytest
from fake_daemon import hello_reply
from kvmcpu import state
from kvmcpud.v1 import exit_pb2 as x
from kvmcpud.v1 import hello_pb2

A = {"uart": b"\1\2\3", "out": b"12345678"}
B = {"uart": b"\4\5", "cmos": bytes(136), "answer": bytes(4112)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "state"


def stored(path, *states, instance=7):
    """A file into which states were stored one after the other."""
    with kvmcpu.StateFile(path) as file:
        file.begin(instance, state.pack_sections(states[0]))
        for sections in states[1:]:
            file.store(state.pack_sections(sections))
    return path.read_bytes()


def read(path, instance=7):
    with kvmcpu.StateFile(path) as file:
        return file.sections(instance)


@pytest.mark.parametrize("states", [[A], [A, B], [A, B, A], [{}]])
def test_round_trip(path, states):
    stored(path, *states)
    assert read(path) == states[-1]
    assert read(path, instance=8) is None


def test_a_daemon_that_tells_no_instance_finds_nothing(path):
    stored(path, A, instance=0)
    assert read(path, instance=0) is None


def test_another_vm_begins_anew(path):
    stored(path, A)
    stored(path, B, instance=2**64 - 1)
    assert (read(path), read(path, 2**64 - 1)) == (None, B)


def test_the_form(path):
    data = stored(path, {"uart": b"abc", "i8042": b"d"}, instance=0x1122334455667788)
    assert len(data) == 20480
    magic, version, current, instance = struct.unpack_from("<8sIIQ", data)
    assert (magic, version, instance) == (b"kvmcpust", 1, 0x1122334455667788)
    at = 4096 + 8192 * current
    assert data[at:at + 32] == struct.pack("<I8sI3s8sIc", 28, b"uart", 3, b"abc", b"i8042", 1, b"d")


def test_nothing_is_kept_in_a_new_file(path):
    assert read(path) is None
    assert path.stat().st_size == 20480
    assert read(path) is None  # all zeros now


class Killed(BaseException):
    pass


class Mapping(bytearray):
    """Memory whose stores are counted, and that kills its user before one of them."""

    def __init__(self, data, stores):
        super().__init__(data)
        self.left = stores

    def __setitem__(self, at, value):
        if self.left == 0:
            raise Killed
        self.left -= 1
        super().__setitem__(at, value)

    def close(self):
        pass


@pytest.mark.parametrize("instance, before", [(7, A), (8, None)])
def test_killed_between_any_two_stores(path, instance, before):
    """Whoever comes next finds the state before or the one after, or knows that there is none."""
    old, seen = stored(path, A), []
    for stores in range(20):
        file = kvmcpu.StateFile(path)
        file._map.close()
        file._map = Mapping(old, stores)
        try:
            if instance == 7:
                file.store(state.pack_sections(B))
            else:
                file.begin(instance, state.pack_sections(B))
        except Killed:
            pass
        path.write_bytes(bytes(file._map))
        os.close(file._descriptor)
        seen.append(read(path, instance))
        if seen[-1] == B:
            break
    assert stores > 1 and seen == [before] * stores + [B]


@pytest.mark.parametrize("size", [1, 7, 8, 24, 4095, 4096, 4100, 12288, 20479, 20481])
def test_a_file_of_another_length_is_refused_and_left_alone(path, size):
    data = stored(path, A, B).ljust(20481, b"\0")[:size]
    path.write_bytes(data)
    with pytest.raises(kvmcpu.StateError, match="remove it"):
        kvmcpu.StateFile(path)
    assert path.read_bytes() == data


@pytest.mark.parametrize("change", [(0, b"KVM"), (8, b"\2"), (7, b"\0")])
def test_a_foreign_file_is_refused_and_left_alone(path, change):
    data = bytearray(stored(path, A))
    at, value = change
    data[at:at + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(kvmcpu.StateError, match="is no state of this version"):
        kvmcpu.StateFile(path)
    assert path.read_bytes() == data


def test_damage_of_every_byte_is_survived(path):
    """Each byte of the current copy turned over: sections, or a refusal."""
    good = stored(path, {"uart": b"abc", "i8042": b"d"})
    start = 4096 + 8192 * good[12]
    with kvmcpu.StateFile(path) as file:
        for at in range(start, start + 40):
            file._map[at] ^= 0xFF
            try:
                assert isinstance(file.sections(7), dict)
            except kvmcpu.StateError as error:
                assert "damaged" in str(error)
            file._map[at] ^= 0xFF


def test_one_process_at_a_time(path):
    with kvmcpu.StateFile(path):
        with pytest.raises(kvmcpu.StateError, match="another process's"):
            kvmcpu.StateFile(path)
    kvmcpu.StateFile(path).close()


def test_a_state_that_is_too_long_changes_nothing(path):
    stored(path, A)
    with kvmcpu.StateFile(path) as file:
        with pytest.raises(ValueError, match="8188"):
            file.store(bytes(8189))
    assert read(path) == A


class Counter(kvmcpu.Device):
    """Counts its reads, and holds a line while there were any."""

    def __init__(self):
        self.count = 0

    @kvmcpu.pio_read(0x10)
    def read(self, access):
        self.count += 1
        return self.count

    @kvmcpu.pio_write(0x10)
    def stop(self, access):
        self.count += 100
        return kvmcpu.Reply(effects=[kvmcpu.stop_vm(0, "off")])

    @kvmcpu.pio_read(0x11, sizes=1)
    def broken(self, access):
        return kvmcpu.Reply(bus_error=True)

    def save(self):
        return {"counter": bytes((self.count,))}

    def restore(self, sections):
        if sections is None:
            return None
        if len(sections["counter"]) != 1:
            raise ValueError("the counter has one byte")
        self.count = sections["counter"][0]
        return None


def serve(daemon, path, script, instance=7):
    """One life of a process that serves a Counter."""
    reply = hello_reply(vm=hello_pb2.VmInfo(instance=instance))
    daemon("device", script, reply=reply)
    device = Counter()
    with kvmcpu.StateFile(path) as file:
        with kvmcpu.Server([device], runtime_dir=daemon.runtime_dir, state=file) as server:
            server.serve_forever()
    for fake in daemon.started:
        fake.finish()
    (daemon.runtime_dir / "default" / "device.sock").unlink()
    return server, device


def test_a_redelivered_exit_gets_the_same_answer_and_no_second_effect(daemon, path):
    def first(peer):
        assert peer.ask(exits.pio_in(0x10, 2, seq=5, vcpu=1)).data == b"\1\0"

    def second(peer):
        again = exits.pio_in(0x10, 2, seq=5, vcpu=1, redelivered=True)
        assert peer.ask(again).data == b"\1\0"
        assert peer.ask(exits.pio_in(0x10, 2, seq=6, vcpu=1)).data == b"\2\0"

    serve(daemon, path, first)
    server, device = serve(daemon, path, second)
    assert server.resumed and device.count == 2


@pytest.mark.parametrize("fields", [
    {"seq": 6, "redelivered": True}, {"seq": 5, "vcpu": 1, "redelivered": True}, {"seq": 5}])
def test_another_exit_is_carried_out(daemon, path, fields):
    serve(daemon, path, lambda peer: peer.ask(exits.pio_in(0x10, seq=5)))
    _, device = serve(daemon, path, lambda peer: peer.ask(exits.pio_in(0x10, **fields)))
    assert device.count == 2


def test_a_redelivered_bus_error_is_one_again(daemon, path):
    statuses = []

    def script(peer):
        statuses.append(peer.ask(exits.pio_in(0x11, redelivered=True)).status)

    for _ in range(2):
        serve(daemon, path, script)
    assert statuses == [x.REPLY_STATUS_BUS_ERROR] * 2


def test_an_answer_that_stops_the_vm_is_given_again_whole(daemon, path):
    """Nobody knows whether the first one arrived."""
    replies = []

    def script(peer):
        replies.append(peer.ask(exits.pio_out(0x10, b"x", redelivered=bool(replies))))

    for _ in range(2):
        _, device = serve(daemon, path, script)
        assert device.count == 100
    assert [reply.effects[0].stop_vm.reason for reply in replies] == ["off", "off"]


def test_another_vm_or_one_that_was_reset_begins_anew(daemon, path):
    serve(daemon, path, lambda peer: peer.ask(exits.pio_in(0x10)))
    server, device = serve(daemon, path, lambda peer: None, instance=8)
    assert (server.resumed, device.count) == (False, 0)
    server, _ = serve(daemon, path, lambda peer: None, instance=8)
    assert server.resumed


def test_a_section_that_a_device_refuses(daemon, path):
    stored(path, {"counter": b"two"})
    with pytest.raises(kvmcpu.StateError, match="the counter has one byte; remove it"):
        serve(daemon, path, lambda peer: peer.at_end())
