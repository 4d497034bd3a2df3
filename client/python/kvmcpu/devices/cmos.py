# SPDX-License-Identifier: MIT
"""The MC146818 real-time clock and the 128 bytes of CMOS memory around it.

Port 0x70 selects a register (bit 7 is the NMI mask and no part of the number),
0x71 reads or writes it. The clock's registers follow the host's time in UTC;
the guest's writes to them are dropped. Register B says how they are coded: BCD
and 24 hours, unless the guest sets otherwise.

Memory sizes stand where PC firmware looks for them: KiB below 640 K, KiB above
1 M, 64-KiB units above 16 M, and 64-KiB units above 4 G. RAM of a PC gives way
to devices below 4 G, from LOW_MAX on.
"""

import time

import kvmcpu

MIB = 1 << 20
LOW_MAX = 3 << 30  # picked: QEMU's i440fx machine splits here as well
REGISTER_A, REGISTER_B, REGISTER_C, REGISTER_D = 0x0A, 0x0B, 0x0C, 0x0D
HOURS_24, BINARY = 0x02, 0x04
VALID = 0x80
CENTURY = 0x32


class Cmos(kvmcpu.Device):
    """memory_bytes is the guest's RAM, by default what the VM has; now() gives seconds
    since 1970."""

    def __init__(self, memory_bytes=None, now=time.time):
        self.memory_bytes = memory_bytes
        self.now = now
        self.index = 0
        self.ram = bytearray(128)
        self.ram[REGISTER_A] = 0x26  # 32768 Hz, 1024 Hz periodic; no update in progress
        self.ram[REGISTER_B] = HOURS_24
        self.ram[REGISTER_D] = VALID
        self._put_sizes(memory_bytes or 0)

    def attached(self, vm):
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

    def _coded(self, value):
        return value if self.ram[REGISTER_B] & BINARY else value // 10 << 4 | value % 10

    def _hour(self, hour):
        if self.ram[REGISTER_B] & HOURS_24:
            return self._coded(hour)
        return self._coded((hour + 11) % 12 + 1) | (0x80 if hour >= 12 else 0)

    def _clock(self, index):
        """A register of the clock, or None if index is none."""
        t = time.gmtime(self.now())
        if index == 0x04:
            return self._hour(t.tm_hour)
        fields = {0x00: t.tm_sec, 0x02: t.tm_min, 0x06: (t.tm_wday + 1) % 7 + 1, 0x07: t.tm_mday,
                  0x08: t.tm_mon, 0x09: t.tm_year % 100, CENTURY: t.tm_year // 100}
        return self._coded(fields[index]) if index in fields else None

    @kvmcpu.pio_read(0x70, sizes=1)
    def read_index(self, access):
        return 0xFF  # the index register cannot be read

    @kvmcpu.pio_write(0x70, sizes=1)
    def select(self, access):
        self.index = access.value & 0x7F

    @kvmcpu.pio_read(0x71, sizes=1)
    def read(self, access):
        clock = self._clock(self.index)
        return self.ram[self.index] if clock is None else clock

    @kvmcpu.pio_write(0x71, sizes=1)
    def write(self, access):
        if self.index not in (REGISTER_C, REGISTER_D):
            self.ram[self.index] = access.value & (0x7F if self.index == REGISTER_A else 0xFF)
