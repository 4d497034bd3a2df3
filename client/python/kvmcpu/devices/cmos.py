# SPDX-License-Identifier: MIT
"""The MC146818 real-time clock and the 128 bytes of CMOS memory around it.

Port 0x70 selects a register (bit 7 is the NMI mask and no part of the number),
0x71 reads or writes it. The clock's registers follow the host's time in UTC;
the guest's writes to them are dropped. Register B says how they are coded: BCD
and 24 hours, unless the guest sets otherwise. clock.py has the clock and when
it interrupts.

Memory sizes stand where PC firmware looks for them: KiB below 640 K, KiB above
1 M, 64-KiB units above 16 M, and 64-KiB units above 4 G. RAM of a PC gives way
to devices below 4 G, from LOW_MAX on.
"""

import struct
import time

import kvmcpu

from .clock import (ALARM_HOURS, ALARM_MINUTES, ALARM_SECONDS, FLAGS, HOURS_24, REGISTER_A,
                    REGISTER_B, REGISTER_C, REGISTER_D, REQUEST, SET, UPDATE_ENABLE, UPDATING,
                    Clock)
from .irq import IrqLine

MIB = 1 << 20
LOW_MAX = 3 << 30  # picked: QEMU's i440fx machine splits here as well
GSI = 8
VALID = 0x80
_SAVED = struct.Struct("<B7x128s")


class Cmos(kvmcpu.Device):
    """memory_bytes is the guest's RAM, by default what the VM has; now() gives seconds
    since 1970; gsi is the clock's interrupt line. It keeps the section "cmos"."""

    def __init__(self, memory_bytes=None, now=time.time, gsi=GSI):
        self.memory_bytes = memory_bytes
        self.index = 0
        self.ram = bytearray(128)
        self.ram[REGISTER_A] = 0x26  # 32768 Hz, 1024 Hz periodic; no update in progress
        self.ram[REGISTER_B] = HOURS_24
        self.ram[REGISTER_D] = VALID
        self._clock = Clock(self.ram, now)
        self._irq = IrqLine(gsi)
        self._put_sizes(memory_bytes or 0)

    def attached(self, vm):
        self._irq.attach(vm)
        if self.memory_bytes is None:
            self._put_sizes(vm.memory_bytes)

    def _put_sizes(self, total):
        low = min(total, LOW_MAX)
        kib_extended = min(max(low - MIB, 0) >> 10, 0xFFFF)
        self._put(0x15, min(low >> 10, 640), 2)
        self._put(0x17, kib_extended, 2)
        self._put(0x30, kib_extended, 2)
        self._put(0x34, min(max(low - 16 * MIB, 0) >> 16, 0xFFFF), 2)
        self._put(0x5B, max(total - LOW_MAX, 0) >> 16, 3)

    def _put(self, index, value, size):
        self.ram[index:index + size] = value.to_bytes(size, "little")

    @kvmcpu.pio_read(0x70, sizes=1)
    def read_index(self, access):
        return 0xFF  # the index register cannot be read

    @kvmcpu.pio_write(0x70, sizes=1)
    def select(self, access):
        self.index = access.value & 0x7F

    @kvmcpu.pio_read(0x71, sizes=1)
    def read(self, access):
        if self.index == REGISTER_A:
            return self.ram[REGISTER_A] | (UPDATING if self._clock.updating else 0)
        if self.index == REGISTER_C:
            return self._read_flags()
        value = self._clock.read(self.index)
        return self.ram[self.index] if value is None else value

    def _read_flags(self):
        """Register C: reading it clears its flags and lowers the line."""
        self._clock.advance()
        flags, self.ram[REGISTER_C] = self.ram[REGISTER_C], 0
        return kvmcpu.Reply(flags, effects=self._irq.set(False))

    @kvmcpu.pio_write(0x71, sizes=1)
    def write(self, access):
        index, value = self.index, access.value
        if index in (REGISTER_A, REGISTER_B, ALARM_SECONDS, ALARM_MINUTES, ALARM_HOURS):
            self._clock.advance()  # until now the registers were as before
        if index == REGISTER_A:
            self.ram[REGISTER_A] = value & ~UPDATING
        elif index == REGISTER_B:
            self._clock.set(value & ~UPDATE_ENABLE if value & SET else value)
        elif index not in (REGISTER_C, REGISTER_D):
            self.ram[index] = value
        return kvmcpu.Reply(effects=self._irq.set(self._requested()))

    def deadline(self):
        return self._clock.deadline()

    def expired(self):
        self._clock.advance()
        return self._irq.set(self._requested())

    def _requested(self):
        """Whether register C asks for an interrupt."""
        requested = self.ram[REGISTER_C] & self.ram[REGISTER_B] & FLAGS
        self.ram[REGISTER_C] = self.ram[REGISTER_C] & FLAGS | (REQUEST if requested else 0)
        return bool(requested)

    def save(self):
        return {"cmos": _SAVED.pack(self.index, bytes(self.ram))}

    def restore(self, sections):
        saved = (sections or {}).get("cmos")
        if saved is None:
            return None
        if len(saved) != _SAVED.size:
            raise ValueError("the section of the CMOS has another length")
        index, self.ram[:] = _SAVED.unpack(saved)
        self.index = index & 0x7F
        self._clock.set(self.ram[REGISTER_B])
        return self._irq.again(self._requested())
