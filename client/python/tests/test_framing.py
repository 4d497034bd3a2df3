# SPDX-License-Identifier: MIT
"""Frames at every byte boundary, and lengths that must be refused."""

import os
import socket

import pytest
from fake_daemon import varint
from kvmcpu.connection import Connection
from kvmcpu.errors import Closed, ProtocolError, Timeout
from kvmcpu.framing import FrameReader, frame
from kvmcpud.v1 import exit_pb2


def put(reader, data):
    """Feeds data as room allows; returns the frames that came whole."""
    whole = []
    while data:
        room = reader.room()
        part = data[: len(room)]
        room[: len(part)] = part
        reader.received(len(part))
        data = data[len(part):]
        while (payload := reader.next()) is not None:
            whole.append(bytes(payload))
    return whole


@pytest.mark.parametrize("size", [0, 1, 127, 128, 300, 16383, 16384, 65536])
def test_header_is_the_varint_of_the_length(size):
    assert frame(b"x" * size) == varint(size) + b"x" * size


def test_every_split_gives_the_same_frames():
    messages = [b"", b"a", b"b" * 127, b"c" * 128, b"d" * 300]
    stream = b"".join(map(frame, messages))
    for cut in range(len(stream) + 1):
        reader = FrameReader(65536)
        assert put(reader, stream[:cut]) + put(reader, stream[cut:]) == messages
        assert not reader.partial


def test_one_byte_at_a_time():
    messages = [b"a", b"b" * 200, b"c"]
    reader = FrameReader(65536)
    got = []
    for byte in b"".join(map(frame, messages)):
        got += put(reader, bytes((byte,)))
    assert got == messages


def test_many_frames_wrap_around_the_buffer():
    messages = [os.urandom(1000 + n) for n in range(300)]
    stream = b"".join(map(frame, messages))
    reader = FrameReader(65536)
    got = []
    for start in range(0, len(stream), 7777):
        got += put(reader, stream[start:start + 7777])
    assert got == messages


def test_largest_frame_and_one_more():
    largest = b"x" * (1 << 20)
    assert put(FrameReader(1 << 20), frame(b"y") + frame(largest)) == [b"y", largest]
    with pytest.raises(ProtocolError, match="1048577"):
        put(FrameReader(1 << 20), varint((1 << 20) + 1))


@pytest.mark.parametrize("header", [b"\xff" * 5, b"\x80" * 5, b"\xff\xff\xff\xff\x0f"])
def test_absurd_lengths_are_refused_before_the_buffer_grows(header):
    reader = FrameReader(1 << 20)
    before = len(reader.room())
    with pytest.raises(ProtocolError):
        put(reader, header)
    assert len(reader._buffer) == before


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    connection = Connection(ours, 65536)
    yield connection, theirs
    connection.close()
    theirs.close()


def test_timeout_keeps_what_came_in_part(pair):
    connection, theirs = pair
    sent = exit_pb2.Exit(seq=7, vcpu=3)
    data = frame(sent.SerializeToString())
    theirs.sendall(data[:2])
    with pytest.raises(Timeout):
        connection.receive(exit_pb2.Exit(), timeout=0)
    theirs.sendall(data[2:])
    assert connection.receive(exit_pb2.Exit(), timeout=5) == sent


def test_end_of_stream_between_and_within_frames(pair):
    connection, theirs = pair
    theirs.sendall(frame(b"") + b"\x05ab")
    theirs.close()
    connection.receive(exit_pb2.Exit())
    with pytest.raises(ProtocolError, match="within a frame"):
        connection.receive(exit_pb2.Exit())


def test_end_of_stream_is_closed_both_ways(pair):
    connection, theirs = pair
    theirs.close()
    with pytest.raises(Closed):
        connection.receive(exit_pb2.Exit())
    with pytest.raises(Closed):
        connection.send(exit_pb2.Exit(seq=1))


def test_garbage_is_a_protocol_error(pair):
    connection, theirs = pair
    theirs.sendall(frame(b"\xff\xff\xff"))
    with pytest.raises(ProtocolError, match="no Exit"):
        connection.receive(exit_pb2.Exit())


def test_too_long_a_message_is_not_sent(pair):
    connection, _ = pair
    connection.greeted = True  # a Hello may be longer
    with pytest.raises(ValueError, match="65536 at most"):
        connection.send_bytes(b"x" * 65537)
