# SPDX-License-Identifier: MIT
"""A device in a process of its own that can be stopped at any stage of an exit.

Started by Daemon.spawn_device(). It claims --pio FIRST[-LAST] and answers reads
with the low bytes of --value. Every exit that it gets is noted in --log, one
JSON object a line, before it is answered. After --after exits it comes to
--stage, says "stage NAME SEQ" on standard output and does nothing more until a
byte (or the end) arrives on standard input, so that a test can kill it there:

    received  the exit is read, nothing is sent
    half      half of the reply's bytes are sent
    replied   the whole reply is sent, the next exit not read
"""

import argparse
import json
import os
import sys

from kvmcpu import schema
from kvmcpu.connection import open_connection
from kvmcpu.errors import Closed
from kvmcpu.framing import frame

STAGES = ("received", "half", "replied")


def parse():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--vm", required=True)
    add("--runtime-dir", required=True)
    add("--ready-fd", type=int, required=True)
    add("--pio", default="0x500", metavar="FIRST[-LAST]")
    add("--value", type=lambda text: int(text, 0), default=0)
    add("--fill", type=lambda text: int(text, 0), help="what reads give in its absence")
    add("--vcpus", type=int, nargs="*", default=[])
    add("--name", default="child")
    add("--stage", choices=STAGES)
    add("--after", type=int, default=0, metavar="N", help="exits answered before the stage")
    add("--log", metavar="FILE")
    return parser.parse_args()


def connect(options):
    first, _, last = options.pio.partition("-")
    claim = schema.hello.Claim(space=schema.hello.SPACE_PIO, first=int(first, 0),
                               last=int(last or first, 0), name=options.name)
    if options.fill is not None:
        claim.absence, claim.fill = schema.hello.ABSENCE_FILL, options.fill
    hello = schema.hello.Hello(
        device=schema.hello.DeviceHello(claims=[claim], vcpus=options.vcpus))
    return open_connection("device", hello, options.vm, options.runtime_dir, options.name)[0]


def note(log, exit):
    pio = exit.pio
    log.write(json.dumps({
        "vcpu": exit.vcpu, "seq": exit.seq, "redelivered": exit.redelivered, "port": pio.port,
        "write": pio.direction == schema.exit_.DIRECTION_WRITE, "data": pio.data.hex()}) + "\n")
    log.flush()


def answer(exit, value):
    reply = schema.exit_.ExitReply(seq=exit.seq)
    if exit.pio.direction == schema.exit_.DIRECTION_READ:
        size = exit.pio.size
        reply.data = (value & (1 << 8 * size) - 1).to_bytes(size, "little") * exit.pio.count
    return frame(reply.SerializeToString())


def stop_at(stage, exit, payload, descriptor):
    """Sends as much of the reply as the stage says, and waits to be killed or told to go on."""
    sent = {"received": 0, "half": max(1, len(payload) // 2), "replied": len(payload)}[stage]
    if sent:
        os.write(descriptor, payload[:sent])
    print(f"stage {stage} {exit.seq}", flush=True)
    sys.stdin.buffer.read(1)
    if sent < len(payload):
        os.write(descriptor, payload[sent:])


def serve(connection, options, log):
    for number in range(sys.maxsize):
        exit = connection.receive(schema.exit_.Exit())
        if exit.HasField("notice"):
            return
        note(log, exit)
        payload = answer(exit, options.value)
        if options.stage and number == options.after:
            stop_at(options.stage, exit, payload, connection.fileno())
        else:
            os.write(connection.fileno(), payload)


def main():
    options = parse()
    with open(options.log or os.devnull, "a", encoding="ascii") as log:
        connection = connect(options)
        os.write(options.ready_fd, b"\n")
        os.close(options.ready_fd)
        try:
            serve(connection, options, log)
        except (Closed, BrokenPipeError):
            pass


if __name__ == "__main__":
    main()
