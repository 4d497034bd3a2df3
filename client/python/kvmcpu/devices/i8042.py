# SPDX-License-Identifier: MIT
"""A keyboard controller with nothing plugged in.

What is left of it on a PC without a keyboard is the processor's reset line,
which software pulls in two ways: by a command that pulses it, or by writing to
the controller's output port with bit 0 clear.
"""

import kvmcpu

PULSE_RESET = 0xFE
WRITE_OUTPUT_PORT = 0xD1  # the next byte at 0x60


def reset():
    return kvmcpu.Reply(effects=[kvmcpu.stop_vm(0, "guest reset", reset=True)])


class I8042(kvmcpu.Device):
    """Ports 0x60 (data) and 0x64 (status, command). It keeps the section "i8042"."""

    def __init__(self):
        self.pending = 0  # the command that waits for its data

    @kvmcpu.pio_read(0x60, sizes=1)
    @kvmcpu.pio_read(0x64, sizes=1)
    def read(self, access):
        return 0

    @kvmcpu.pio_write(0x60, sizes=1)
    def write_data(self, access):
        pending, self.pending = self.pending, 0
        if pending == WRITE_OUTPUT_PORT and not access.value & 1:
            return reset()
        return None

    @kvmcpu.pio_write(0x64, sizes=1)
    def command(self, access):
        self.pending = access.value
        return reset() if access.value == PULSE_RESET else None

    def save(self):
        return {"i8042": bytes((self.pending,))}

    def restore(self, sections):
        saved = (sections or {}).get("i8042", b"\0")
        if len(saved) != 1:
            raise ValueError("the section of the keyboard controller has another length")
        self.pending = saved[0]
