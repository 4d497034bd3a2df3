# SPDX-License-Identifier: MIT
"""From decorated methods to claims: merging, splitting, what is refused."""

import kvmcpu
import pytest
from kvmcpu import routing
from kvmcpu.device import READ, WRITE
from kvmcpud.v1 import hello_pb2


def device(**methods):
    """An instance of a class with these methods, each made by a decorator."""
    made = {}
    for name, decorator in methods.items():
        made[name] = decorator(lambda self, access, name=name: name)
    return type("Made", (kvmcpu.Device,), made)()


def pieces(*devices, space="pio"):
    """[(first, last, reader, writer)] of one space."""
    return [(route.first, route.last,
             *(handler and handler.label.split(".")[1] for handler in route.handlers))
            for route in routing.build(devices)[space].routes]


def test_equal_ranges_merge_into_one_claim():
    made = device(r=kvmcpu.pio_read(1, 4), w=kvmcpu.pio_write(1, 4))
    assert pieces(made) == [(1, 4, "r", "w")]


def test_unequal_ranges_are_cut_at_their_boundaries():
    made = device(r=kvmcpu.pio_read(0x60, 0x64), w=kvmcpu.pio_write(0x64))
    assert pieces(made) == [(0x60, 0x63, "r", None), (0x64, 0x64, "r", "w")]
    made = device(r=kvmcpu.pio_read(1, 5), w=kvmcpu.pio_write(4, 8))
    assert pieces(made) == [(1, 3, "r", None), (4, 5, "r", "w"), (6, 8, None, "w")]
    made = device(r=kvmcpu.pio_read(1, 9), w=kvmcpu.pio_write(4, 5))
    assert [p[:2] for p in pieces(made)] == [(1, 3), (4, 5), (6, 9)]


def test_two_devices_may_share_an_address_by_direction():
    one, two = device(r=kvmcpu.pio_read(7)), device(w=kvmcpu.pio_write(7))
    one.name, two.name = "one", "two"
    table = routing.build([one, two])
    claim, = routing.claims(table)
    assert claim.name == "one+two"
    handlers = table["pio"].find(7).handlers
    assert (handlers[READ].device, handlers[WRITE].device) == (one, two)


@pytest.mark.parametrize("second", [(2, 6), (5, 9), (3, 3), (0, 20)])
def test_two_handlers_of_one_direction_are_refused(second):
    one, two = device(a=kvmcpu.mmio_read(2, 6)), device(b=kvmcpu.mmio_read(*second))
    with pytest.raises(ValueError, match=r"Made.\w and Made.\w both serve reads of mmio 0x"):
        routing.build([one, two])


def test_find_at_the_edges():
    made = device(a=kvmcpu.pio_read(10, 19), b=kvmcpu.pio_read(30))
    routes = routing.build([made])["pio"]
    found = {n: bool(routes.find(n)) for n in (0, 9, 10, 19, 20, 29, 30, 31, 65535)}
    assert found == {0: False, 9: False, 10: True, 19: True, 20: False, 29: False, 30: True,
                     31: False, 65535: False}


def test_base_moves_a_device():
    one, two = device(r=kvmcpu.pio_read(0, 7)), device(r=kvmcpu.pio_read(0, 7))
    one.base, two.base = 0x3F8, 0x2F8
    assert [p[:2] for p in pieces(one, two)] == [(0x2F8, 0x2FF), (0x3F8, 0x3FF)]


def test_base_leaves_other_spaces_alone():
    class Moving(kvmcpu.Device):
        base = 0x3F8

        @kvmcpu.pio_read(0, 7)
        def read(self, access):
            return 0

        @kvmcpu.msr_read(5)
        def msr(self, access):
            return 0

    assert [p[:2] for p in pieces(Moving())] == [(0x3F8, 0x3FF)]
    assert [p[:2] for p in pieces(Moving(), space="msr")] == [(5, 5)]


def test_a_base_that_leaves_the_space_is_refused():
    made = device(r=kvmcpu.pio_read(0, 7))
    made.base = 0xFFFC
    with pytest.raises(ValueError, match="0x10003"):
        routing.build([made])


def test_absence():
    made = device(a=kvmcpu.pio_read(1), b=kvmcpu.pio_read(2, fill=0xFF))
    freeze, fill = routing.claims(routing.build([made]))
    assert (freeze.absence, freeze.fill) == (hello_pb2.ABSENCE_FREEZE, 0)
    assert (fill.absence, fill.fill) == (hello_pb2.ABSENCE_FILL, 0xFF)
    made.fill = 0
    first, second = routing.claims(routing.build([made]))
    assert (first.absence, first.fill) == (hello_pb2.ABSENCE_FILL, 0)
    assert second.fill == 0xFF


def test_contradicting_fills_are_refused():
    made = device(r=kvmcpu.pio_read(1, fill=1), w=kvmcpu.pio_write(1, fill=2))
    with pytest.raises(ValueError, match="same fill"):
        routing.claims(routing.build([made]))


def test_one_methods_word_on_fill_is_enough():
    made = device(r=kvmcpu.pio_read(1, fill=1), w=kvmcpu.pio_write(1))
    claim, = routing.claims(routing.build([made]))
    assert (claim.absence, claim.fill) == (hello_pb2.ABSENCE_FILL, 1)


def test_halts_are_claimed_at_zero():
    claim, = routing.claims(routing.build([device(h=kvmcpu.halt())]))
    assert (claim.space, claim.first, claim.last) == (hello_pb2.SPACE_HALT, 0, 0)


@pytest.mark.parametrize("decorator, arguments", [
    (kvmcpu.pio_read, (0x10000,)), (kvmcpu.pio_read, (5, 4)), (kvmcpu.pio_write, (-1,)),
    (kvmcpu.mmio_read, (0, 2**64)), (kvmcpu.msr_read, (2**32,))])
def test_ranges_that_are_none(decorator, arguments):
    with pytest.raises(ValueError, match="is no range"):
        decorator(*arguments)


@pytest.mark.parametrize("sizes", [(8,), (), (0,), 3])
def test_sizes_that_no_port_has(sizes):
    with pytest.raises(ValueError, match="sizes"):
        kvmcpu.pio_read(1, sizes=sizes)


def test_inheritance():
    class Base(kvmcpu.Device):
        @kvmcpu.pio_read(1)
        def a(self, access):
            return 1

        @kvmcpu.pio_read(2)
        def b(self, access):
            return 1

    class Changed(Base):
        b = None

        def a(self, access):
            return 2

    assert pieces(Changed()) == [(1, 1, "a", None)]
    assert routing.build([Changed()])["pio"].find(1).handlers[READ].call(None) == 2


def test_nothing_to_serve_and_no_device():
    with pytest.raises(ValueError, match="no device serves anything"):
        routing.claims(routing.build([kvmcpu.Device()]))
    with pytest.raises(TypeError, match="is no kvmcpu.Device"):
        routing.build([object()])


def test_too_many_claims():
    devices = []
    for port in range(16385):
        one = device(r=kvmcpu.pio_read(0))
        one.base = port
        devices.append(one)
    with pytest.raises(ValueError, match="16385 claims"):
        routing.claims(routing.build(devices))
