# SPDX-License-Identifier: MIT
"""Effects: what a device does to the VM beyond answering.

Each function makes one Effect message, for Reply(effects=[...]) or for
Control.effect(). Values that no VM takes raise ValueError here; what depends
on the VM (its vCPUs, its interrupt controller) check() looks at.
"""

import time

from . import schema
from .schema import exit_

_BYTES_MAX = schema.DEVICE_FRAME_MAX - 5120  # leaves room for a page of data and the headers


def _in_range(what, value, first, last):
    if not first <= value <= last:
        raise ValueError(f"{what} is {value}, must be {first} to {last}")


def irq_line(gsi, level, decided_ns=None):
    """Sets line gsi (0 to 23) of the kernel's interrupt controller to level (a bool).

    decided_ns is when the device decided so, in ns of CLOCK_MONOTONIC; None
    means now. Of two effects for one line, one on a reply and one over a control
    connection, the daemon lets the later decided count, so make the effect when
    its level is known and not before.
    """
    _in_range("gsi", gsi, 0, 23)
    if decided_ns is None:
        decided_ns = time.monotonic_ns()
    _in_range("decided_ns", decided_ns, 0, 2**64 - 1)
    return exit_.Effect(
        set_irq_line=exit_.SetIrqLine(gsi=gsi, level=level, decided_ns=decided_ns))


def interrupt(vcpu, vector):
    """Delivers vector (32 to 255) as soon as the guest can take it, and wakes the vCPU."""
    _in_range("vcpu", vcpu, 0, 63)
    _in_range("vector", vector, 32, 255)
    return exit_.Effect(interrupt=exit_.Interrupt(vcpu=vcpu, vector=vector))


def nmi(vcpu):
    """Delivers a non-maskable interrupt and wakes the vCPU."""
    _in_range("vcpu", vcpu, 0, 63)
    return exit_.Effect(nmi=exit_.Nmi(vcpu=vcpu))


def write_memory(address, data):
    """Writes data (1 to 32768 bytes) to RAM at a guest-physical address."""
    _in_range("address", address, 0, 2**64 - 1)
    _in_range("the length of data", len(data), 1, schema.MAX_EFFECT_DATA)
    return exit_.Effect(
        write_guest_memory=exit_.WriteGuestMemory(address=address, data=bytes(data)))


def wake(vcpu):
    """Lets a halted vCPU run on behind its HLT."""
    _in_range("vcpu", vcpu, 0, 63)
    return exit_.Effect(wake=exit_.Wake(vcpu=vcpu))


def end_run(vcpu):
    """Ends the run by budget (Control.run()) that a vCPU is in, if it is in one: for a device
    that has just set a timer which the scheduler must look at."""
    _in_range("vcpu", vcpu, 0, 63)
    return exit_.Effect(end_run=exit_.EndRun(vcpu=vcpu))


def stop_vm(code=0, reason="", reset=False):
    """Ends the VM and the daemon, whose exit status is code (0 to 63).

    reason goes to its log: at most 200 bytes of UTF-8. With reset the guest
    wants to start again instead: a daemon that was told to (--on-reset restart)
    does that, any other ends.
    """
    _in_range("code", code, 0, 63)
    _in_range("the length of reason in bytes", len(reason.encode()), 0, schema.MAX_REASON)
    return exit_.Effect(stop_vm=exit_.StopVm(code=code, reason=reason, reset=reset))


def check(effects, vm):
    """Raises ValueError if the VM that VmInfo vm describes would refuse one of effects."""
    _in_range("the number of effects", len(effects), 0, schema.MAX_EFFECTS)
    size = sum(effect.ByteSize() for effect in effects)
    _in_range("the effects' length in bytes", size, 0, _BYTES_MAX)
    for effect in effects:
        kind = effect.WhichOneof("kind")
        if kind is None:
            raise ValueError("an effect does nothing: make it with kvmcpu.irq_line() and its kin")
        if kind in ("interrupt", "nmi", "wake", "end_run"):
            _in_range("vcpu", getattr(effect, kind).vcpu, 0, vm.vcpus - 1)
        in_kernel = vm.irqchip == schema.hello.IRQCHIP_KIND_KERNEL
        if kind == "set_irq_line" and not in_kernel:
            raise ValueError("irq_line needs a VM with --irqchip kernel; use interrupt(vcpu, "
                             "vector)")
        if kind == "interrupt" and in_kernel:
            raise ValueError("interrupt needs a VM with --irqchip none; use irq_line(gsi, level)")
