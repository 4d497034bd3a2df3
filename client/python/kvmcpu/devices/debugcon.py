# SPDX-License-Identifier: MIT
"""The debug consoles of PC firmware: one port each, and no state but the output.

SeaBIOS reads port 0x402 and prints there if it finds 0xe9; Bochs's port 0xe9
answers the same way.
"""

import sys

import kvmcpu

PRESENT = 0xE9


class Debugcon(kvmcpu.Device):
    """Writes what the guest prints to out, a binary stream, without buffering."""

    def __init__(self, out=None):
        self.out = out or sys.stdout.buffer

    @kvmcpu.pio_read(0x402, sizes=1)
    @kvmcpu.pio_read(0xE9, sizes=1)
    def read(self, access):
        return PRESENT

    @kvmcpu.pio_write(0x402, sizes=1, whole=True)
    @kvmcpu.pio_write(0xE9, sizes=1, whole=True)
    def write(self, access):
        self.out.write(access.data)
        self.out.flush()
