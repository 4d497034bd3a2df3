# SPDX-License-Identifier: MIT
"""The power-on self-test port 0x80: firmware writes there how far it has come,
and kernels write there to let time pass."""

import kvmcpu


class Post(kvmcpu.Device):
    """Keeps the last code; calls show(code) for each new one if given."""

    def __init__(self, show=None):
        self.code = 0
        self.show = show

    @kvmcpu.pio_read(0x80, sizes=1)
    def read(self, access):
        return self.code

    @kvmcpu.pio_write(0x80, sizes=1)
    def write(self, access):
        changed = access.value != self.code
        self.code = access.value
        if changed and self.show:
            self.show(self.code)
