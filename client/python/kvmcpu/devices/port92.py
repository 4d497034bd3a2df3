# SPDX-License-Identifier: MIT
"""System control port A, 0x92: bit 0 resets the machine, bit 1 opens the A20 gate.

A20 is always open here. A reset starts the VM again, or ends it, as its daemon
was told.
"""

import kvmcpu

RESET, A20 = 1, 2


class Port92(kvmcpu.Device):
    """Reads 2; a write with bit 0 set resets the VM."""

    @kvmcpu.pio_read(0x92, sizes=1)
    def read(self, access):
        return A20

    @kvmcpu.pio_write(0x92, sizes=1)
    def write(self, access):
        if access.value & RESET:
            return kvmcpu.Reply(effects=[kvmcpu.stop_vm(0, "guest reset", reset=True)])
        return None
