# SPDX-License-Identifier: MIT
"""Power-off and reset, by each way that a PC has."""

import pytest
from bus import Bus
from kvmcpu.devices import I8042, Port92, Power

OFF, RESET = (0, "guest powered off", False), (0, "guest reset", True)


@pytest.fixture
def bus():
    return Bus(I8042(), Port92(), Power())


def stops(bus):
    return [(stop.code, stop.reason, stop.reset) for stop in bus.stops]


@pytest.mark.parametrize("writes, expected", [
    ([(0x604, 0x2000, 2)], OFF),
    ([(0x604, 0x2001, 4)], OFF),
    ([(0x605, 0x20, 1)], OFF),
    ([(0x602, 0x2000_0000, 4)], OFF),  # enable and control in one
    ([(0x604, 0x1400, 2), (0x604, 0x2000, 2)], OFF),
    ([(0xCF9, 0x02, 1), (0xCF9, 0x06, 1)], RESET),
    ([(0xCF9, 0x04, 1)], RESET),
    ([(0x92, 0x01, 1)], RESET),
    ([(0x64, 0xFE, 1)], RESET),
    ([(0x64, 0xD1, 1), (0x60, 0xDE, 1)], RESET)])
def test_ways_out(bus, writes, expected):
    for number, write in enumerate(writes):
        assert not bus.stops, number
        bus.write(*write)
    assert stops(bus) == [expected]


@pytest.mark.parametrize("writes", [
    [(0x604, 0x1C00, 2)], [(0x604, 0x0001, 2)], [(0x604, 0x3400, 2)], [(0x605, 0x34, 1)],
    [(0x600, 0x2000, 2)], [(0x602, 0x2000, 2)], [(0xCF9, 0x02, 1)], [(0x92, 0x02, 1)],
    [(0x64, 0xD1, 1), (0x60, 0xDF, 1)], [(0x60, 0x00, 1)],
    [(0x64, 0xD1, 1), (0x60, 0xDF, 1), (0x60, 0xDE, 1)]])
def test_what_is_no_way_out(bus, writes):
    for write in writes:
        bus.write(*write)
    assert not bus.stops


def test_pm1_registers(bus):
    assert bus.read(0x604, 2) == 0x0001  # SCI_EN
    bus.write(0x604, 0x1400, 2)
    assert (bus.read(0x604, 2), bus.read(0x605)) == (0x1401, 0x14)
    bus.write(0x602, 0x0120, 2)
    assert (bus.read(0x600, 4), bus.read(0x602, 2), bus.read(0x603)) == (0x0120_0000, 0x0120, 0x01)
    bus.write(0x602, 0xFF)
    assert bus.read(0x602, 2) == 0x01FF
    assert bus.read(0x604, 4) == 0x1401


def test_status_is_cleared_by_ones(bus):
    power = bus.devices[2]
    power.pm1[0] = 0x8130
    bus.write(0x600, 0x0110, 2)
    assert bus.read(0x600, 2) == 0x8020
    bus.write(0x601, 0x80)
    assert bus.read(0x600, 2) == 0x0020


def test_what_outlasts_the_process(bus):
    bus.write(0x602, 0x0120, 2)
    bus.write(0x604, 0x1400, 2)
    bus.write(0x64, 0xD1)
    successor = Bus(I8042(), Port92(), Power())
    saved = {}
    for device in bus.devices:
        saved.update(device.save())
    assert saved == {"i8042": b"\xd1", "power": bytes.fromhex("0000 2001 0114")}
    for device in successor.devices:
        device.restore(saved)
    assert (successor.read(0x602, 2), successor.read(0x604, 2)) == (0x0120, 0x1401)
    successor.write(0x60, 0)
    assert stops(successor) == [RESET]


@pytest.mark.parametrize("device, name", [(I8042(), "i8042"), (Power(), "power")])
def test_what_neither_has_saved(device, name):
    device.restore({})
    for data in (b"", bytes(7)):
        with pytest.raises(ValueError):
            device.restore({name: data})
