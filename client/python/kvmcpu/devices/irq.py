# SPDX-License-Identifier: MIT
"""One line to the interrupt controller in the kernel.

A device says the level that its registers amount to after each change of them;
an effect comes of it only if the level is another. In a VM without that
controller (--irqchip none) there is no line, and the guest polls.
"""

import kvmcpu
from kvmcpu.schema import hello


class IrqLine:
    """Line gsi, low at first. Nothing comes of it before attach()."""

    def __init__(self, gsi):
        self.gsi = gsi
        self.level = False
        self._wired = False

    def attach(self, vm):
        """Call from Device.attached()."""
        self._wired = vm.irqchip == hello.IRQCHIP_KIND_KERNEL

    def set(self, level):
        """The effects, one or none, that give the line this level."""
        if level == self.level:
            return []
        return self.again(level)

    def again(self, level):
        """As set(), where nobody knows what level the line has."""
        self.level = level
        return [kvmcpu.irq_line(self.gsi, level)] if self._wired else []
