# SPDX-License-Identifier: MIT
"""The 16550A's rules, as what a driver sees in its registers and on its interrupt line.

A row is a script: REG=xx writes, REG?xx reads and expects, <xx receives a byte
from outside, sent lets the transmitter run empty, line0 and line1 are the
interrupt line's level, room0 says that nothing may be received. IIR and FCR,
RBR and THR share an address.
"""

import pytest
from kvmcpu.devices import uart
from kvmcpu.devices.uart import Uart

REGISTERS = {"RBR": 0, "THR": 0, "DLL": 0, "IER": 1, "DLM": 1, "IIR": 2, "FCR": 2, "LCR": 3,
             "MCR": 4, "LSR": 5, "MSR": 6, "SCR": 7}

RULES = {
    "after reset": "IER?00 IIR?01 LCR?00 MCR?00 LSR?60 MSR?B0 SCR?00 line0",
    "identified as a 16550A": "IIR?01 FCR=01 IIR?C1 FCR=00 IIR?01 SCR=A5 SCR?A5",
    "fcr is taken only with its enable bit": "FCR=C0 IIR?01 <41 IER=01 IIR?04",
    "ier has four bits": "IER=FF IER?0F",
    "mcr has five bits": "MCR=FF MCR?1F",
    "lsr and msr are read-only": "LSR=00 LSR?60 MSR=FF MSR?B0",
    "divisor latch": "LCR=83 DLL=01 DLM=02 DLL?01 DLM?02 LCR?83 LCR=03 IER?00 RBR?00",
    "divisor latch hides neither iir nor fcr": "LCR=80 FCR=01 IIR?C1",

    "received data": "MCR=08 IER=01 IIR?01 line0 <41 LSR?61 line1 IIR?04 IIR?04 RBR?41 LSR?60 "
                     "IIR?01 line0 RBR?00",
    "received while it is not enabled": "MCR=08 <41 line0 IER=01 line1 IER=00 line0",
    "one byte without fifos": "<41 room0 LSR?61 RBR?41 <42 RBR?42",
    "trigger levels": "MCR=08 FCR=41 IER=01 <41 IIR?CC line1 <42 <43 IIR?CC <44 IIR?C4 RBR?41 "
                      "IIR?CC line1 RBR?42 RBR?43 RBR?44 IIR?C1 line0",
    "trigger level 1": "FCR=01 IER=01 <41 IIR?C4",
    "trigger level 8": "FCR=81 IER=01" + " <41" * 7 + " IIR?CC <41 IIR?C4",
    "trigger level 14": "FCR=C1 IER=01" + " <41" * 13 + " IIR?CC <41 IIR?C4",
    "16 bytes with fifos": "FCR=01" + " <41" * 15 + " <42 room0" + " RBR?41" * 15 + " RBR?42",
    "clearing the receiver": "FCR=01 <41 <42 FCR=03 LSR?60 RBR?00 IIR?C1",
    "switching fifos clears them": "FCR=01 <41 <42 FCR=00 LSR?60 <43 FCR=01 LSR?60",
    "a new trigger level clears nothing": "FCR=01 <41 FCR=C1 RBR?41",

    "thre when it is enabled": "MCR=08 IER=02 line1 IIR?02 line0 IIR?01",
    "thre once more when it is enabled again": "IER=02 IIR?02 IER=02 IIR?01 IER=00 IER=02 IIR?02",
    "thre when the transmitter has run empty": "MCR=08 IER=02 IIR?02 THR=41 LSR?00 IIR?01 line0 "
                                               "sent LSR?60 line1 IIR?02 line0",
    "writing thr takes the interrupt back": "MCR=08 IER=02 line1 THR=41 line0 sent line1",
    "enabled while the transmitter is busy": "MCR=08 THR=41 IER=02 line0 IIR?01 sent line1 IIR?02",
    "clearing the transmitter loses nothing": "FCR=01 THR=41 FCR=05 LSR?00 sent LSR?60",

    "priorities": "MCR=18 FCR=01 THR=41" + " THR=41" * 16 + " MCR=1F IER=0F "
                  "IIR?C6 LSR?63 IIR?C4" + " RBR?41" * 16 + " IIR?C2 IIR?C0 MSR?F3 IIR?C1 line0",
    "out2 gates the line": "IER=02 line0 MCR=08 line1 MCR=00 line0 IIR?02",

    "overrun without fifos": "MCR=10 THR=41 THR=42 LSR?63 LSR?61 RBR?42 RBR?00",
    "overrun of the fifo": "MCR=10 FCR=01" + " THR=41" * 16 + " THR=42 LSR?63 LSR?61"
                           + " RBR?41" * 16 + " LSR?60",
    "line status interrupt": "MCR=18 IER=04 THR=41 THR=42 line1 IIR?06 LSR?63 IIR?01 line0",

    "loopback of data": "MCR=18 IER=03 IIR?02 THR=55 LSR?61 line1 IIR?04 RBR?55 IIR?02 IIR?01",
    "loopback takes nothing from outside": "MCR=10 room0 FCR=01 room0",
    "loopback of the modem's lines": "MCR=10 MSR?0B MCR=11 MSR?22 MCR=12 MSR?13 MCR=14 MSR?41 "
                                     "MCR=18 MSR?8C MCR=1A MSR?91 MCR=1F MSR?F2",
    "deltas are read once": "MCR=10 MSR?0B MSR?00 MCR=00 MSR?BB MSR?B0",
    "the end of a ring": "MCR=14 MSR?4B MCR=10 MSR?04 MSR?00",
    "modem status interrupt": "MCR=08 IER=08 IIR?01 MCR=18 line1 IIR?00 MSR?83 IIR?01 line0",
}


def run(port, script):
    for step in script.split():
        if step == "sent":
            port.sent(len(port.under_way))
        elif step[:4] == "line":
            assert port.line == bool(int(step[4:])), step
        elif step == "room0":
            assert port.room == 0
        elif step[0] == "<":
            assert port.room > 0, step
            port.receive(bytes.fromhex(step[1:]))
        elif step[3] == "=":
            port.write(REGISTERS[step[:3]], int(step[4:], 16))
        else:
            got = port.read(REGISTERS[step[:3]])
            assert got == int(step[4:], 16), f"{step} gave {got:02X}"


@pytest.mark.parametrize("script", RULES.values(), ids=RULES.keys())
def test_rule(script):
    run(Uart(), script)


@pytest.mark.parametrize("script", RULES.values(), ids=RULES.keys())
def test_rule_in_another_process_each_time(script):
    """The same, with everything saved and loaded between any two steps."""
    port = Uart()
    for step in script.split():
        successor = Uart()
        successor.load(*port.save())
        port = successor
        run(port, step)


def test_the_saved_form():
    port = Uart()
    run(port, "LCR=80 DLL=34 DLM=12 LCR=03 FCR=41 SCR=5A MCR=0B IER=07 <41 <42")
    port.write(0, 0x43)
    registers, under_way = port.save()
    assert registers == bytes.fromhex("3412 07 41 03 0b 5a 00 00 00 02 00") + b"AB" + bytes(14)
    assert under_way == b"\1\0C" + bytes(1023)


@pytest.mark.parametrize("saved", [
    [b""], [bytes(27)], [bytes(29)], [bytes(10) + b"\x11" + bytes(17)], [bytes(28), bytes(1025)],
    [bytes(28), b"\x01\x04" + bytes(1024)]])
def test_what_no_16550_has_saved(saved):
    with pytest.raises(ValueError):
        Uart().load(*saved)


def test_every_register_takes_every_value():
    port = Uart()
    for value in range(256):
        for register in range(8):
            port.write(register, value)
            assert 0 <= port.read(register) <= 255
        port.sent(len(port.under_way))
    assert len(port.fifo) <= uart.FIFO
