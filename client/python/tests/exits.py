# SPDX-License-Identifier: MIT
"""Exit messages for tests, one function for each kind."""

from kvmcpud.v1 import exit_pb2 as x


def pio_in(port, size=1, count=1, seq=1, **fields):
    return x.Exit(seq=seq, pio=x.Pio(
        port=port, size=size, count=count, direction=x.DIRECTION_READ), **fields)


def pio_out(port, data, size=1, seq=1, **fields):
    return x.Exit(seq=seq, pio=x.Pio(
        port=port, size=size, count=len(data) // size, direction=x.DIRECTION_WRITE, data=data),
        **fields)


def mmio_in(address, size, seq=1):
    return x.Exit(seq=seq, mmio=x.Mmio(address=address, size=size, direction=x.DIRECTION_READ))


def mmio_out(address, data, seq=1):
    return x.Exit(seq=seq, mmio=x.Mmio(
        address=address, size=len(data), direction=x.DIRECTION_WRITE, data=data))


def hypercall(number, args=(), seq=1):
    return x.Exit(seq=seq, hypercall=x.Hypercall(number=number, args=args, long_mode=True))


def msr_in(index, seq=1):
    return x.Exit(seq=seq, msr=x.Msr(index=index, direction=x.DIRECTION_READ, reason=1))


def msr_out(index, value, seq=1):
    return x.Exit(seq=seq, msr=x.Msr(
        index=index, direction=x.DIRECTION_WRITE, value=value, reason=1))


def halt(seq=1, vcpu=0):
    return x.Exit(seq=seq, vcpu=vcpu, halt=x.Halt())
