# SPDX-License-Identifier: MIT
"""Port accesses straight to devices' handlers, with what came of them."""

import exits
import kvmcpu
from kvmcpu import routing
from kvmcpu.access import DECODERS
from kvmcpud.v1 import hello_pb2

KERNEL = hello_pb2.VmInfo(vcpus=1, memory_bytes=128 << 20, irqchip=hello_pb2.IRQCHIP_KIND_KERNEL,
                          instance=1)


def levels(effects):
    """The levels that effects give to interrupt lines: [(gsi, level), ...]."""
    return [(effect.set_irq_line.gsi, effect.set_irq_line.level) for effect in effects or ()]


class Bus:
    """Devices that are attached to a VM with an interrupt controller.

    lines has the level of each interrupt line that an effect has set, changes
    every such effect, stops the StopVm messages.
    """

    def __init__(self, *devices):
        self.devices = devices
        self.routes = routing.build(devices)["pio"]
        self.lines, self.changes, self.stops = {}, [], []
        for device in devices:
            device.attached(KERNEL)

    def take(self, effects):
        for effect in effects or ():
            if effect.HasField("stop_vm"):
                self.stops.append(effect.stop_vm)
        self.changes += levels(effects)
        self.lines.update(levels(effects))

    def access(self, exit, slot):
        access = DECODERS["pio"](exit)
        handler = self.routes.find(access.address).handlers[slot]
        access.offset = access.address - handler.first
        result = handler.call(access)
        if isinstance(result, kvmcpu.Reply):
            self.take(result.effects)
            return result.data
        return result

    def read(self, port, size=1):
        data = self.access(exits.pio_in(port, size), 0)
        return data if isinstance(data, int) else int.from_bytes(data, "little")

    def write(self, port, value, size=1):
        self.access(exits.pio_out(port, value.to_bytes(size, "little"), size), 1)

    def expire(self):
        """Does what the server does when deadlines have passed."""
        for device in self.devices:
            if device.deadline() is not None:
                self.take(device.expired())
