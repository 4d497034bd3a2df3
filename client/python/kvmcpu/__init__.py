# SPDX-License-Identifier: MIT
"""Device models, monitors and controllers for virtual machines run by kvmcpud.

    import sys
    import kvmcpu

    class Debugcon(kvmcpu.Device):
        @kvmcpu.pio_read(0x402, sizes=1)
        def read(self, access):
            return 0xE9

        @kvmcpu.pio_write(0x402, sizes=1)
        def write(self, access):
            sys.stdout.buffer.write(access.data)

    kvmcpu.serve([Debugcon()], vm="default")

Device and the decorators (device.py) say how devices are written, Server and
serve() answer the VM's exits, Monitor watches them, Control runs and inspects
the VM. Messages are those of the schema in proto/kvmcpud/v1, as protobuf makes
them.
"""

from .access import Access, Reply
from .control import Control
from .device import (Device, halt, hypercall, mmio_read, mmio_write, msr_read, msr_write, pio_read,
                     pio_write)
from .effects import end_run, interrupt, irq_line, nmi, stop_vm, wake, write_memory
from .errors import (Closed, ConnectError, ControlError, Error, ProtocolError, Refused,
                     StateError, Timeout)
from .format import format_event
from .memory import GuestMemory
from .monitor import Monitor
from .server import Server, serve
from .state import StateFile

__all__ = [
    "Access", "Closed", "ConnectError", "Control", "ControlError", "Device", "Error",
    "GuestMemory", "Monitor", "ProtocolError", "Refused", "Reply", "Server", "StateError",
    "StateFile", "Timeout", "end_run", "format_event", "halt", "hypercall", "interrupt", "irq_line",
    "mmio_read", "mmio_write", "msr_read", "msr_write", "nmi", "pio_read", "pio_write", "serve",
    "stop_vm", "wake", "write_memory",
]
