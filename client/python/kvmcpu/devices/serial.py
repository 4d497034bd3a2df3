# SPDX-License-Identifier: MIT
"""A 16550A serial port without interrupts: the guest polls.

What is sent goes to a binary stream at once, so the transmitter is always
empty; feed() gives the guest something to receive. In loopback mode what the
guest sends comes back to it, and the modem-control outputs show as the modem
status.
"""

import collections

import kvmcpu

COM1, COM2 = 0x3F8, 0x2F8
RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR = range(8)
LCR_DLAB = 0x80
FCR_ENABLE, FCR_CLEAR_RX = 0x01, 0x02
IIR_NONE, IIR_RX_READY, IIR_THR_EMPTY, IIR_FIFO = 0x01, 0x04, 0x02, 0xC0
LSR_DATA_READY, LSR_EMPTY = 0x01, 0x60  # THRE and TEMT
MCR_LOOP = 0x10
MSR_CONNECTED = 0xB0  # CTS, DSR, DCD: somebody is there
LOOPED = ((0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80))  # DTR RTS OUT1 OUT2 in MSR


class Serial(kvmcpu.Device):
    """A port at base; out is a binary stream, or None to discard."""

    def __init__(self, out=None, base=COM1):
        self.out = out
        self.base = base
        self.received = collections.deque()
        self.divisor = bytearray((12, 0))  # 9600 baud
        self.registers = bytearray(8)
        self.fifo = False
        self.thr_interrupt = False

    def feed(self, data):
        """Gives the guest bytes to receive."""
        self.received.extend(data)

    @kvmcpu.pio_read(0, 7, sizes=1)
    def read(self, access):
        which = access.offset
        if which in (RBR_THR, IER) and self.registers[LCR] & LCR_DLAB:
            return self.divisor[which]
        if which == RBR_THR:
            return self.received.popleft() if self.received else 0
        if which == IIR_FCR:
            return self._pending_interrupt() | (IIR_FIFO if self.fifo else 0)
        if which == LSR:
            return LSR_EMPTY | (LSR_DATA_READY if self.received else 0)
        if which == MSR:
            return self._modem_status()
        return self.registers[which]

    @kvmcpu.pio_write(0, 7, sizes=1)
    def write(self, access):
        which, value = access.offset, access.value
        if which in (RBR_THR, IER) and self.registers[LCR] & LCR_DLAB:
            self.divisor[which] = value
        elif which == RBR_THR:
            self._send(value)
        elif which == IIR_FCR:
            self.fifo = bool(value & FCR_ENABLE)
            if value & FCR_CLEAR_RX:
                self.received.clear()
        elif which == IER:
            self.thr_interrupt |= bool(value & ~self.registers[IER] & 0x02)
            self.registers[IER] = value & 0x0F
        elif which == MCR:
            self.registers[MCR] = value & 0x1F
        elif which in (LCR, SCR):
            self.registers[which] = value

    def _send(self, value):
        self.thr_interrupt = True
        if self.registers[MCR] & MCR_LOOP:
            self.received.append(value)
        elif self.out:
            self.out.write(bytes((value,)))
            self.out.flush()

    def _pending_interrupt(self):
        if self.registers[IER] & 0x01 and self.received:
            return IIR_RX_READY
        if self.registers[IER] & 0x02 and self.thr_interrupt:
            self.thr_interrupt = False  # reading IIR acknowledges it
            return IIR_THR_EMPTY
        return IIR_NONE

    def _modem_status(self):
        if not self.registers[MCR] & MCR_LOOP:
            return MSR_CONNECTED
        return sum(status for output, status in LOOPED if self.registers[MCR] & output)
