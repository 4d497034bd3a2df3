# SPDX-License-Identifier: MIT
"""A 16550A serial port with its interrupt, joined to a stream.

Bytes that the guest writes leave before its access is answered, so that the
transmitter is empty again when it looks. Where the other end takes no more they
stay, THRE stays clear, and the port goes on when there is room. A guest that
writes by string instructions, without looking, is held instead.

Input is read when the receiver has room, and no earlier: the rest stays where
it comes from. As long as more is to be had, the read that empties the FIFO
fills it again, so that a guest in its receive loop finds it full and no
interrupt has to be raised anew.
"""

import kvmcpu

from .irq import IrqLine
from .streams import Stream
from .uart import RBR_THR, UNDER_WAY_MAX, Uart

COM1, COM2 = 0x3F8, 0x2F8
COM1_GSI, COM2_GSI = 4, 3


class Serial(kvmcpu.Device):
    """A port at base with interrupt line gsi; stream (see streams.py) is the other end,
    nobody by default, and the caller's to close. It keeps the sections "uart", "tx"
    (what is under way) and "out" (the number of bytes written)."""

    def __init__(self, stream=None, base=COM1, gsi=COM1_GSI):
        self.base = base
        self.stream = stream or Stream()
        self.uart = Uart()
        self._irq = IrqLine(gsi)

    def attached(self, vm):
        self._irq.attach(vm)

    @kvmcpu.pio_read(0, 7, sizes=1)
    def read(self, access):
        uart = self.uart
        value = uart.read(access.offset)
        if self.stream.more and not uart.fifo:
            self._fill()
        line = uart.line
        if line == self._irq.level:
            return value
        return kvmcpu.Reply(value, effects=self._irq.set(line))

    @kvmcpu.pio_write(0, 7, sizes=1)
    def write(self, access):
        uart = self.uart
        if access.offset == RBR_THR and len(uart.under_way) >= UNDER_WAY_MAX:
            self._make_room()
        uart.write(access.offset, access.data[0])
        if uart.under_way:
            self._flush()
        line = uart.line
        if line == self._irq.level:
            return None
        return kvmcpu.Reply(effects=self._irq.set(line))

    def sources(self):
        return [(source, events, self._polled)
                for source, events in self.stream.sources(self.uart.room > 0)]

    def deadline(self):
        # Input that waits already, when the FIFO was emptied otherwise than by reading.
        return 0 if self.stream.more and not self.uart.fifo and self.uart.room else None

    def expired(self):
        self._fill()
        return self._irq.set(self.uart.line)

    def _polled(self, source, events):
        self.stream.polled(source, events)
        if self.uart.under_way:
            self._flush()
        while self._fill():
            pass
        return self._irq.set(self.uart.line)

    def _flush(self):
        uart = self.uart
        while uart.under_way:
            size = self.stream.write(bytes(uart.under_way))
            if not size:
                return
            uart.sent(size)

    def _make_room(self):
        self._flush()
        while self.uart.under_way:
            self.stream.wait()
            self._flush()

    def _fill(self):
        """Whether something was received."""
        room = self.uart.room
        if not self.stream.more or not room:
            return False
        data = self.stream.read(room)
        self.uart.receive(data)
        return bool(data)

    def save(self):
        registers, under_way = self.uart.save()
        return {"uart": registers, "tx": under_way,
                "out": self.stream.written.to_bytes(8, "little")}

    def restore(self, sections):
        if sections is None or "out" not in sections:
            self.stream.begin()
        else:
            self.stream.begin(int.from_bytes(sections["out"], "little"))
        if sections is None:
            return None
        if "uart" in sections:
            self.uart.load(*(sections[name] for name in ("uart", "tx") if name in sections))
            self._flush()
        return self._irq.again(self.uart.line)
