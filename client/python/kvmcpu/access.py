# SPDX-License-Identifier: MIT
"""One access as a handler sees it, and its answer.

An Access is a plain copy of what the Exit message says, so a handler may keep
it. Data is bytes, each element little-endian, as on the wire.
"""

from .schema import exit_

_WRITE = exit_.DIRECTION_WRITE


class Access:
    """An access to a claimed range.

    kind         "pio", "mmio", "hypercall", "msr" or "halt"
    vcpu, seq    who asks, and its exit's number; seq counts each vCPU's exits
    tick         that vCPU's clock, in ticks, when it left the guest
    redelivered  it was sent before and its answer not taken: effects of this
                 (vcpu, seq) may have been seen already
    address      port, guest-physical address, hypercall number or MSR index
    offset       address less the first of the handler's range
    size, count  bytes of one element, elements; count is 1 but for string IO
    is_write     the vCPU writes
    data         of a write size * count bytes, else empty
    args         of a hypercall its six arguments
    reason       of an MSR access KVM_MSR_EXIT_REASON_*
    """

    args = ()
    reason = 0
    long_mode = False
    offset = 0

    def __init__(self, kind, exit, address=0, size=0, count=1, is_write=False, data=b""):
        self.kind = kind
        self.vcpu = exit.vcpu
        self.seq = exit.seq
        self.tick = exit.tick
        self.redelivered = exit.redelivered
        self.address = address
        self.size = size
        self.count = count
        self.is_write = is_write
        self.data = data

    @property
    def value(self):
        """The datum of a write as an int; ValueError if there are several (see values)."""
        if self.count != 1:
            raise ValueError(f"{self.count} elements have no single value: use values")
        return int.from_bytes(self.data, "little")

    @property
    def values(self):
        """The data of a write as ints, one for each element."""
        step = self.size or 1
        return tuple(
            int.from_bytes(self.data[i:i + step], "little") for i in range(0, len(self.data), step))

    def element(self, index):
        """The access of one element of a string access."""
        part = Access.__new__(Access)
        part.__dict__.update(self.__dict__)
        part.count = 1
        part.data = self.data[index * self.size:(index + 1) * self.size]
        return part

    def __repr__(self):
        way = "write" if self.is_write else "read"
        data = f" data={self.data.hex()}" if self.data else ""
        return (f"<Access {self.kind} {way} {self.address:#x} size={self.size} count={self.count}"
                f"{data} vcpu={self.vcpu} seq={self.seq}>")


class Reply:
    """A handler's answer, spelt out.

    data       of a read: an int, or bytes of exactly size * count
    ticks      what the access cost, in ticks of the VM
    effects    made by kvmcpu.irq_line() and its kin; at most 64
    bus_error  refuse the access: a read gives all ones, a write is dropped, an
               MSR access raises #GP; data is not sent
    """

    __slots__ = ("data", "ticks", "effects", "bus_error")

    def __init__(self, data=b"", ticks=0, effects=(), bus_error=False):
        self.data = data
        self.ticks = ticks
        self.effects = effects
        self.bus_error = bus_error


def _pio(exit):
    pio = exit.pio
    return Access("pio", exit, pio.port, pio.size, pio.count, pio.direction == _WRITE, pio.data)


def _mmio(exit):
    mmio = exit.mmio
    return Access("mmio", exit, mmio.address, mmio.size, 1, mmio.direction == _WRITE, mmio.data)


def _hypercall(exit):
    access = Access("hypercall", exit, exit.hypercall.number, 8)
    access.args = tuple(exit.hypercall.args)
    access.long_mode = exit.hypercall.long_mode
    return access


def _msr(exit):
    msr = exit.msr
    is_write = msr.direction == _WRITE
    data = msr.value.to_bytes(8, "little") if is_write else b""
    access = Access("msr", exit, msr.index, 8, 1, is_write, data)
    access.reason = msr.reason
    return access


def _halt(exit):
    return Access("halt", exit)


# By the name of the field in Exit: what makes an Access of it.
DECODERS = {"pio": _pio, "mmio": _mmio, "hypercall": _hypercall, "msr": _msr, "halt": _halt}
