# SPDX-License-Identifier: MIT
"""A line's level is what was decided last, by whichever road the decisions came.

The guest writes the interrupt controller's request register to PORT again and
again; line 4 shows there as it is.
"""

import time

import pytest
from devices import PORT
from raw import Peer, claim

from kvmcpu.schema import exit_

LINE = 4
SECOND = 10**9


def line(level, decided_ns=0):
    return exit_.Effect(set_irq_line=exit_.SetIrqLine(gsi=LINE, level=level,
                                                      decided_ns=decided_ns))


class Board:
    """The device end of a guest that shows its line."""

    def __init__(self, start, guest, **more):
        self.daemon = start(*guest("line", mode="real", PORT=PORT, **more), "--irqchip", "kernel")
        self.control = self.daemon.control()
        self.device = Peer(self.daemon, "device")
        self.device.greet("device", claims=[claim(PORT)])
        self.exit = self.device.exit()

    def answer(self, *effects):
        """Answers the write in flight; returns the line's level as the next one shows it."""
        return bool(self.next(*effects) >> LINE & 1)

    def next(self, *effects):
        """The same; what the next one says."""
        self.device.send_message(exit_.ExitReply(seq=self.exit.seq, effects=effects))
        self.exit = self.device.exit()
        return self.exit.pio.data[0]

    def shown(self):
        return self.answer()


@pytest.fixture
def board(start, guest):
    return Board(start, guest)


def test_a_line_follows_its_effects(board):
    for level in (True, False, True, True, False):
        assert board.answer(line(level)) == level
        board.control.effect(line(not level))
        assert board.shown() == (not level)


@pytest.mark.parametrize("level", [True, False])
def test_a_reply_that_comes_too_late(board, level):
    """Decided first, applied last: it changes nothing."""
    board.answer(line(not level))
    first = time.monotonic_ns()
    board.control.effect(line(level, first + 1))
    assert board.answer(line(not level, first)) == level
    assert board.answer(line(not level, time.monotonic_ns())) == (not level)


@pytest.mark.parametrize("level", [True, False])
def test_a_control_effect_that_comes_too_late(board, level):
    board.answer(line(not level))
    first = time.monotonic_ns()
    assert board.answer(line(level, first + 1)) == level
    board.control.effect(line(not level, first))
    assert board.shown() == level


def test_no_time_means_now(board):
    assert board.answer(line(True, time.monotonic_ns())) is True
    assert board.answer(line(False)) is False
    board.control.effect(line(True, 1))  # decided just after the machine's start
    assert board.shown() is False


def test_a_time_to_come_means_now(board):
    """It must not hold the line against what is decided after it."""
    assert board.answer(line(True, time.monotonic_ns() + 3600 * SECOND)) is True
    assert board.answer(line(False, time.monotonic_ns())) is False


EDGE, NONE = LINE, 7  # newer kernels set bit 7 beside the line


def test_a_late_low_makes_the_edge_that_follows_it(start, guest):
    """Lowered and raised again, an edge-triggered line has an edge, though the two came the
    other way round."""
    board = Board(start, guest, EDGE=1)

    def seen(*effects):
        return board.next(*effects) & 7

    assert [seen(line(True)), seen()] == [EDGE, NONE]
    low = time.monotonic_ns()
    board.control.effect(line(True, low + 1))
    assert seen() == NONE, "it was high all the time, as far as anybody knows"
    assert [seen(line(False, low)), seen()] == [EDGE, NONE]
    # A late one that says what is so already is nothing new.
    assert seen(line(True, low)) == NONE


def test_lines_are_apart(board):
    """Line 3's decisions are no measure for line 4's."""
    early = time.monotonic_ns()
    board.control.effect(exit_.Effect(set_irq_line=exit_.SetIrqLine(
        gsi=3, level=True, decided_ns=time.monotonic_ns())))
    assert board.answer(line(True, early)) is True
