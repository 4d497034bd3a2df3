# SPDX-License-Identifier: MIT
"""Switching off and starting again, as ACPI describes it in the tables that
kvmcpud gives to a kernel.

    0x600  PM1a status, 16 bits; writing a bit as 1 clears it
    0x602  PM1a enable, 16 bits
    0x604  PM1a control, 16 bits: SCI_EN 0x0001 always reads 1; writing SLP_EN
           0x2000 with SLP_TYP (0x1c00) 0 switches the machine off
    0xcf9  reset control: writing bit 2 starts the machine again; reads 0

Nothing here raises an event. Bytes behind the registers read as 0.
"""

import struct

import kvmcpu

PM1A, PM1A_LAST, RESET_CONTROL = 0x600, 0x605, 0xCF9
STATUS, ENABLE, CONTROL = range(3)
SCI_EN, SLP_TYP, SLP_EN = 0x0001, 0x1C00, 0x2000
SLP_TYP_OFF = 0
RESET_CPU = 0x04
_SAVED = struct.Struct("<3H")


class Power(kvmcpu.Device):
    """Accesses may be of 1, 2 and 4 bytes at any of the ports 0x600 to 0x605. It keeps
    the section "power"."""

    def __init__(self):
        self.pm1 = [0, 0, SCI_EN]

    @kvmcpu.pio_read(PM1A, PM1A_LAST)
    def read(self, access):
        registers = _SAVED.pack(*self.pm1)
        return registers[access.offset:access.offset + access.size].ljust(access.size, b"\0")

    @kvmcpu.pio_write(PM1A, PM1A_LAST)
    def write(self, access):
        """Merges the bytes written into the registers they belong to."""
        for register in (STATUS, ENABLE, CONTROL):
            mask = value = 0
            for at, byte in enumerate(access.data, access.offset):
                if at // 2 == register:
                    mask |= 0xFF << 8 * (at % 2)
                    value |= byte << 8 * (at % 2)
            if mask and self._merge(register, mask, value):
                return kvmcpu.Reply(effects=[kvmcpu.stop_vm(0, "guest powered off")])
        return None

    def _merge(self, register, mask, value):
        """Whether it switches the machine off."""
        if register == STATUS:
            self.pm1[STATUS] &= ~value
            return False
        merged = self.pm1[register] & ~mask | value
        if register == CONTROL:
            merged = merged & ~SLP_EN | SCI_EN  # SLP_EN is a command and not kept
        self.pm1[register] = merged
        return register == CONTROL and value & SLP_EN and merged & SLP_TYP == SLP_TYP_OFF

    @kvmcpu.pio_read(RESET_CONTROL, sizes=1)
    def read_reset(self, access):
        return 0

    @kvmcpu.pio_write(RESET_CONTROL, sizes=1)
    def write_reset(self, access):
        if access.value & RESET_CPU:
            return kvmcpu.Reply(effects=[kvmcpu.stop_vm(0, "guest reset", reset=True)])
        return None

    def save(self):
        return {"power": _SAVED.pack(*self.pm1)}

    def restore(self, sections):
        saved = (sections or {}).get("power")
        if saved is not None:
            if len(saved) != _SAVED.size:
                raise ValueError("the section of the power control has another length")
            self.pm1 = list(_SAVED.unpack(saved))
            self.pm1[CONTROL] |= SCI_EN
