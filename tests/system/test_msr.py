# SPDX-License-Identifier: MIT
"""Accesses to MSRs: those that are claimed come out, whether KVM knows the MSR or not; the
rest stays with KVM.
"""

import struct

import kvmcpu
import pytest
from devices import RESULTS, STOPPED, all_in, counts, halted
from raw import INVALID, LIMIT, OK, Peer, claim
from raw import hello as hello_message

from kvmcpu.schema import exit_
from kvmcpu.schema import hello as hello_messages

UNKNOWN = 0x4B564D90  # nobody's
PAT = 0x277           # IA32_PAT: KVM knows it
PAT_AT_RESET = 0x0007040600070406
FILTERED = 4          # KVM_MSR_EXIT_REASON_FILTER
UNKNOWN_TO_KVM = 2    # KVM_MSR_EXIT_REASON_UNKNOWN
WRITTEN, ANSWER = 0x0102030405060708, 0xA1B2C3D4E5F60718
RANGE = 0x600 * 8     # MSRs in a range of KVM's filter; it takes 16
MSR = hello_messages.SPACE_MSR


class Register(kvmcpu.Device):
    """One MSR."""

    def __init__(self):
        self.seen = []

    @classmethod
    def at(cls, index):
        """A device of a class of its own, since decorators name the MSR."""
        def read(self, access):
            self.seen.append(("read", access.address, access.reason))
            return ANSWER, 5

        def write(self, access):
            self.seen.append(("write", access.address, access.value, access.reason))
            return 6

        made = type("At", (cls,), {"read": kvmcpu.msr_read(index)(read),
                                   "write": kvmcpu.msr_write(index)(write)})
        return made()


class Refusing(kvmcpu.Device):
    @kvmcpu.msr_read(UNKNOWN)
    @kvmcpu.msr_write(UNKNOWN)
    def refuse(self, access):
        return kvmcpu.Reply(bus_error=True)


class Elsewhere(kvmcpu.Device):
    @kvmcpu.msr_read(UNKNOWN + 1)
    def read(self, access):
        raise AssertionError("not this one")


def begin(start, guest, index, device=None, *more, n=1):
    """A PAT of its own is written to the PAT, since KVM may look at the value."""
    value = PAT_AT_RESET if index == PAT and not device else WRITTEN
    daemon = start(*guest("msr", MSR=index, VALUE=value, N=n), "--paused", *more)
    control = daemon.control()
    if device:
        daemon.serve(device)
    return daemon, control


def found(control):
    """What the guest read, and its faults at reads and at writes."""
    return struct.unpack("<3Q", control.read_memory(RESULTS, 24))


@pytest.mark.parametrize("index", [UNKNOWN, PAT, 0, 2**32 - 1, 0xC0010FFF])
def test_s24_a_claimed_msr_is_the_devices(start, guest, index):
    device = Register.at(index)
    _, control = begin(start, guest, index, device, n=3)
    control.resume()
    assert halted(control).vcpus[0].tick == 3 * (5 + 6)
    why = UNKNOWN_TO_KVM if index == 2**32 - 1 else FILTERED
    assert device.seen == [("read", index, why), ("write", index, WRITTEN, why)] * 3
    assert found(control) == (ANSWER, 0, 0)
    stats = control.stats()
    assert stats.vcpus[0].num_msr == 6
    assert (stats.claims[0].reads, stats.claims[0].writes) == (3, 3)


def test_s24_a_bus_error_is_a_fault(start, guest):
    _, control = begin(start, guest, UNKNOWN, Refusing(), n=2)
    control.resume()
    halted(control)
    assert found(control)[1:] == (2, 2)
    assert control.stats().claims[0].bus_errors == 4
    assert counts(control) == [2], "the guest goes on behind its handler"


def test_s24_without_claims_nothing_comes_out(start, guest):
    """KVM answers for what it knows and faults for what it does not."""
    for index, faults in ((PAT, (0, 0)), (UNKNOWN, (1, 1))):
        daemon, control = begin(start, guest, index)
        control.resume()
        halted(control)
        assert found(control)[1:] == faults
        assert control.stats().vcpus[0].num_msr == 0
        if index == PAT:
            assert found(control)[0] == PAT_AT_RESET
        daemon.stop()


def test_s24_an_unknown_one_beside_the_claim_faults_and_shows(start, guest):
    daemon, control = begin(start, guest, UNKNOWN, Elsewhere())
    monitor = daemon.monitor(kinds=["msr"], states=False)
    control.resume()
    halted(control)
    assert found(control)[1:] == (1, 1)
    record = next(monitor).exit
    assert record.exit.msr.index == UNKNOWN and record.exit.msr.reason == UNKNOWN_TO_KVM
    assert record.reply.status == exit_.REPLY_STATUS_BUS_ERROR
    assert control.stats().vcpus[0].num_unclaimed == 2


def test_s24_a_known_one_beside_the_claim_stays_with_kvm(start, guest):
    """Though the filter's bitmap spans it."""
    class Around(kvmcpu.Device):
        @kvmcpu.msr_read(PAT - 1)
        @kvmcpu.msr_read(PAT + 1)
        def read(self, access):
            raise AssertionError("not this one")

    _, control = begin(start, guest, PAT, Around())
    control.resume()
    halted(control)
    assert found(control)[0] == PAT_AT_RESET
    assert control.stats().vcpus[0].num_msr == 0


def test_s24_strict_stops_at_one_that_nobody_knows(start, guest):
    daemon, control = begin(start, guest, UNKNOWN, Elsewhere(), "--strict")
    control.resume()
    vcpu = control.wait_until(all_in(STOPPED)).vcpus[0]
    assert f"nobody claims msr {UNKNOWN:#x}" in vcpu.stop_reason


def test_s24_a_claim_takes_effect_while_the_guest_runs(start, guest):
    """From one of KVM's answers to the next the device's, and none of them a fault."""
    daemon, control = begin(start, guest, PAT, n=20000)
    control.resume()
    control.wait_until(lambda _: counts(control)[0] > 100)
    before = control.stats().vcpus[0].num_msr
    device = Register.at(PAT)
    daemon.serve(device)
    control.wait_until(lambda _: len(device.seen) > 100)
    control.pause()
    assert before == 0
    assert found(control)[1:] == (0, 0)
    assert control.stats().vcpus[0].num_msr == len(device.seen)


def test_s24_claims_outlive_a_reset(start, guest):
    """The new VM has the filter from its first instruction on."""
    daemon, control = begin(start, guest, PAT, None, "--on-reset", "restart")
    peer = Peer(daemon, "device")
    peer.greet("device", claims=[claim(PAT, space=MSR)])
    control.resume()
    reset = kvmcpu.stop_vm(reset=True)
    peer.send_message(exit_.ExitReply(seq=peer.exit().seq, data=bytes(8), effects=[reset]))
    control.wait_until(lambda status: status.vcpus[0].wait.kind == exit_.EXIT_KIND_MSR
                       and status.vcpus[0].wait.address == PAT)
    peer.close()
    device = Register.at(PAT)
    daemon.serve(device)
    halted(control)
    assert [access[0] for access in device.seen] == ["read", "write"]
    assert found(control) == (ANSWER, 0, 0)


def answer_to(daemon, *ranges):
    """What the daemon says to a client that claims these MSRs."""
    peer = Peer(daemon, "device")
    peer.send_message(hello_message(
        "device", claims=[claim(first, last, space=MSR) for first, last in ranges]))
    return peer.welcome()


def test_s24_as_many_ranges_as_kvm_takes(start, guest):
    """16 that lie far apart are granted, and so are many close together; one more is not."""
    daemon, control = begin(start, guest, UNKNOWN)
    far = [(0x10000000 * i, 0x10000000 * i + 3) for i in range(16)]
    answer = answer_to(daemon, *far, (0x10000008, 0x10000010), (2 * 0x10000000 + 5,) * 2)
    assert answer.status == OK, answer.message
    answer = answer_to(daemon, (0x0F000000, 0x0F000000))
    assert answer.status == LIMIT
    assert "16 ranges of 12288 MSRs" in answer.message and "claim fewer" in answer.message


@pytest.mark.parametrize("first, last, granted", [
    (0x1000, 0x1000 + 16 * RANGE - 1, True), (0x1000, 0x1000 + 16 * RANGE, False),
    (0, 2**32 - 1, False), (2**32 - RANGE - 1, 2**32 - 1, True)])
def test_s24_a_long_range(start, guest, first, last, granted):
    daemon, control = begin(start, guest, UNKNOWN)
    answer = answer_to(daemon, (first, last))
    if granted:
        assert answer.status == OK, answer.message
    else:
        assert answer.status in (LIMIT, INVALID)
        assert not control.stats().claims, "nothing of it is in force"


@pytest.mark.parametrize("first, last", [(0x800, 0x800), (0x8FF, 0x900), (0x700, 0x900)])
def test_s24_the_local_apics_are_refused(start, guest, first, last):
    daemon, _ = begin(start, guest, UNKNOWN)
    answer = answer_to(daemon, (first, last))
    assert answer.status == INVALID
    assert "0x800-0x8ff" in answer.message
