# SPDX-License-Identifier: MIT
"""The keyboard controller with no keyboard: status 0 (nothing to read, ready to
be written), and the command that pulses the processor's reset line.

A reset ends the VM, since nothing here can put it back to its first state.
"""

import kvmcpu

PULSE_RESET = 0xFE


class I8042(kvmcpu.Device):
    """Ports 0x60 (data) and 0x64 (status, command)."""

    @kvmcpu.pio_read(0x60, sizes=1)
    @kvmcpu.pio_read(0x64, sizes=1)
    def read(self, access):
        return 0

    @kvmcpu.pio_write(0x60, sizes=1)
    def write_data(self, access):
        return None

    @kvmcpu.pio_write(0x64, sizes=1)
    def command(self, access):
        if access.value == PULSE_RESET:
            return kvmcpu.Reply(effects=[kvmcpu.stop_vm(0, "guest reset")])
        return None
