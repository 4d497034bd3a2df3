# SPDX-License-Identifier: MIT
"""The registers of a 16550A and what follows from them, apart from where its bytes
come from and go to, which is serial.py's. Names are the PC16550D data sheet's.

There is no speed. A byte received is there at once; so data that stays below
the FIFO's trigger level is signalled at once as well, as the time-out it would
come to. A byte sent leaves as soon as the other end takes it; until then the
transmitter is not empty, and that is all the flow control there is.

The interrupt line is what IER and the four sources say, in order of priority:
an overrun, received data, the transmitter run empty, a change of the modem's
lines. OUT2 gates it, as on every PC; the bit counts as written, in loopback
too, so that software can try its interrupts there.
"""

import struct

RBR_THR, IER, IIR_FCR, LCR, MCR, LSR, MSR, SCR = range(8)
FIFO = 16
IER_RECEIVED, IER_EMPTY, IER_LINE, IER_MODEM = 0x01, 0x02, 0x04, 0x08
IIR_MODEM, IIR_NONE, IIR_EMPTY, IIR_RECEIVED, IIR_LINE, IIR_TIMEOUT = 0, 1, 2, 4, 6, 0x0C
IIR_FIFOS = 0xC0
FCR_ENABLE, FCR_CLEAR_RECEIVER, FCR_KEPT = 0x01, 0x02, 0xC9
TRIGGER_LEVELS = (1, 4, 8, 14)
LCR_DLAB = 0x80
MCR_OUT2, MCR_LOOP, MCR_KEPT = 0x08, 0x10, 0x1F
LSR_DATA, LSR_OVERRUN, LSR_EMPTY = 0x01, 0x02, 0x60  # THRE and TEMT are always alike
MSR_CONNECTED, MSR_RING, MSR_RING_ENDED = 0xB0, 0x40, 0x04  # DCD, DSR and CTS are up
LOOPED = ((0x01, 0x20), (0x02, 0x10), (0x04, 0x40), (0x08, 0x80))  # DTR RTS OUT1 OUT2 in MSR
DIVISOR_9600 = 12
UNDER_WAY_MAX = 1024  # as kvmcpu-pc: what a string instruction may be ahead of the other end
_SAVED = struct.Struct("<H10B16s")
_UNDER_WAY = struct.Struct(f"<H{UNDER_WAY_MAX}s")


class Uart:
    """As after a hardware reset. under_way (a bytearray) is what the guest has written
    and nobody has taken yet; its owner keeps it to UNDER_WAY_MAX bytes."""

    def __init__(self):
        self.divisor = DIVISOR_9600
        self.ier = self.fcr = self.lcr = self.mcr = self.scr = 0
        self.lsr_errors = self.msr_delta = 0
        self.thre_pending = False  # the transmitter ran empty and nobody has been told
        self.fifo = bytearray()
        self.under_way = bytearray()

    def read(self, register):
        """The value of a register, 0 to 7, with what reading it brings about."""
        return self._READS[register](self)

    def write(self, register, value):
        """Writes 0 to 255 to a register, 0 to 7."""
        self._WRITES[register](self, value)

    @property
    def line(self):
        """Whether the interrupt line is high."""
        return self.mcr & MCR_OUT2 != 0 and self._source() != IIR_NONE

    # The receiver

    @property
    def room(self):
        """How many bytes receive() can take from outside without an overrun."""
        return 0 if self.mcr & MCR_LOOP else self._places()

    def receive(self, data):
        """Receives bytes. One that finds the FIFO full is lost; without FIFOs it takes
        the place of the one before."""
        for byte in data:
            if not self._places():
                self.lsr_errors |= LSR_OVERRUN
                if self.fcr & FCR_ENABLE:
                    continue
                self.fifo.clear()
            self.fifo.append(byte)

    def _places(self):
        return max(0, (FIFO if self.fcr & FCR_ENABLE else 1) - len(self.fifo))

    def _read_data(self):
        if self.lcr & LCR_DLAB:
            return self.divisor & 0xFF
        return self.fifo.pop(0) if self.fifo else 0

    # The transmitter

    def sent(self, size):
        """The first size bytes that were under way have left, or got lost."""
        del self.under_way[:size]
        if size and not self.under_way:
            self.thre_pending = True

    def _write_data(self, value):
        if self.lcr & LCR_DLAB:
            self.divisor = self.divisor & 0xFF00 | value
        elif self.mcr & MCR_LOOP:
            self.receive((value,))
            self.thre_pending = not self.under_way
        else:
            self.thre_pending = False
            self.under_way.append(value)

    # Modem control

    def _modem_lines(self):
        if not self.mcr & MCR_LOOP:
            return MSR_CONNECTED
        return sum(status for output, status in LOOPED if self.mcr & output)

    def _write_mcr(self, value):
        before = self._modem_lines()
        self.mcr = value & MCR_KEPT
        changed = before ^ self._modem_lines()
        # A line's delta is four bits below it; that of RI tells only of its end.
        self.msr_delta |= (changed & ~MSR_RING) >> 4
        if changed & before & MSR_RING:
            self.msr_delta |= MSR_RING_ENDED

    def _read_msr(self):
        value = self._modem_lines() | self.msr_delta
        self.msr_delta = 0
        return value

    # Interrupts

    def _source(self):
        """What IIR says, without its FIFO bits."""
        ier = self.ier
        if ier & IER_LINE and self.lsr_errors:
            return IIR_LINE
        if ier & IER_RECEIVED and self.fifo:
            level = TRIGGER_LEVELS[self.fcr >> 6] if self.fcr & FCR_ENABLE else 1
            return IIR_RECEIVED if len(self.fifo) >= level else IIR_TIMEOUT
        if ier & IER_EMPTY and self.thre_pending:
            return IIR_EMPTY
        if ier & IER_MODEM and self.msr_delta:
            return IIR_MODEM
        return IIR_NONE

    def _read_iir(self):
        source = self._source()
        if source == IIR_EMPTY:
            self.thre_pending = False  # being told is all that this source waits for
        return source | (IIR_FIFOS if self.fcr & FCR_ENABLE else 0)

    def _read_ier(self):
        return self.divisor >> 8 if self.lcr & LCR_DLAB else self.ier

    def _write_ier(self, value):
        if self.lcr & LCR_DLAB:
            self.divisor = self.divisor & 0xFF | value << 8
            return
        # Enabled while the transmitter is empty, it is told once more.
        if value & ~self.ier & IER_EMPTY and not self.under_way:
            self.thre_pending = True
        self.ier = value & 0x0F

    # The rest

    def _write_fcr(self, value):
        """What is under way stays: it is on the line already, and Linux clears the
        transmitter whenever it opens the port."""
        if value & FCR_CLEAR_RECEIVER or (self.fcr ^ value) & FCR_ENABLE:
            self.fifo.clear()
        self.fcr = value & FCR_KEPT if value & FCR_ENABLE else 0

    def _read_lsr(self):
        value = self.lsr_errors | (LSR_DATA if self.fifo else 0)
        self.lsr_errors = 0
        return value if self.under_way else value | LSR_EMPTY

    def _write_lcr(self, value):
        self.lcr = value

    def _write_scr(self, value):
        self.scr = value

    def _drop(self, value):
        """LSR and MSR are not written."""

    _READS = (_read_data, _read_ier, _read_iir, lambda self: self.lcr, lambda self: self.mcr,
              _read_lsr, _read_msr, lambda self: self.scr)
    _WRITES = (_write_data, _write_ier, _write_fcr, _write_lcr, _write_mcr, _drop, _drop,
               _write_scr)

    # What outlasts the process

    def save(self):
        """28 bytes of registers and received data, and 1026 of what is under way."""
        registers = _SAVED.pack(
            self.divisor, self.ier, self.fcr, self.lcr, self.mcr, self.scr, self.lsr_errors,
            self.msr_delta, self.thre_pending, len(self.fifo), 0, bytes(self.fifo))
        return registers, _UNDER_WAY.pack(len(self.under_way), bytes(self.under_way))

    def load(self, saved, under_way=_UNDER_WAY.pack(0, b"")):
        """Takes over what save() gave. Raises ValueError for anything else."""
        if len(saved) != _SAVED.size or saved[10] > FIFO or len(under_way) != _UNDER_WAY.size:
            raise ValueError("the sections of the serial port are none of a 16550")
        size, data = _UNDER_WAY.unpack(under_way)
        if size > UNDER_WAY_MAX:
            raise ValueError(f"{size} bytes under way are more than a serial port has")
        (self.divisor, ier, fcr, self.lcr, mcr, self.scr, self.lsr_errors, self.msr_delta, pending,
         used, _, fifo) = _SAVED.unpack(saved)
        self.ier, self.fcr, self.mcr = ier & 0x0F, fcr & FCR_KEPT, mcr & MCR_KEPT
        self.thre_pending = bool(pending)
        self.fifo = bytearray(fifo[:used])
        self.under_way = bytearray(data[:size])
