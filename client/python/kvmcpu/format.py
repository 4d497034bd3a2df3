# SPDX-License-Identifier: MIT
"""One line of text for an event: what a person wants to read in a terminal.

    vcpu 0 #17 @3.204000 pio read 0x402 size 1 -> e9 ok, 41.3 us by client 3, 250 ticks

The time is the daemon host's CLOCK_MONOTONIC in seconds.
"""

from . import schema
from .schema import event, exit_

_DATA_SHOWN = 32  # picked: bytes of data that leave a line readable


def _data(data):
    shown = data[:_DATA_SHOWN].hex(" ")
    return f"{shown} ... ({len(data)} bytes)" if len(data) > _DATA_SHOWN else shown


def _access(kind, address, size, message):
    way = schema.enum_name(exit_.Direction, "DIRECTION_", message.direction)
    text = f"{kind} {way} {address:#x} size {size}"
    if getattr(message, "count", 1) > 1:
        text += f" count {message.count}"
    if message.direction == exit_.DIRECTION_WRITE:
        data = message.value.to_bytes(8, "little") if kind == "msr" else message.data
        text += f": {_data(data)}"
    return text


def _plain(kind, message):
    """The fields of any other kind of exit, by their names."""
    parts = [kind.replace("_", " ")]
    for field, value in message.ListFields():
        if field.label == field.LABEL_REPEATED:
            value = " ".join(f"{item:#x}" for item in value)
        parts.append(f"{field.name} {value:#x}" if isinstance(value, int) else
                     f"{field.name} {value}")
    return " ".join(parts)


def format_exit(exit):
    """What an Exit message says, without who and when."""
    kind = exit.WhichOneof("kind")
    if kind is None:
        return "an exit of a kind newer than this client"
    message = getattr(exit, kind)
    if kind == "pio":
        return _access(kind, message.port, message.size, message)
    if kind == "mmio":
        return _access(kind, message.address, message.size, message)
    if kind == "msr":
        return _access(kind, message.index, 8, message)
    return _plain(kind, message)


def _answer(record):
    reply = record.reply
    parts = []
    if reply.data:
        parts.append(_data(reply.data))
    parts.append("bus error" if reply.status == exit_.REPLY_STATUS_BUS_ERROR else "ok")
    who = schema.enum_name(event.Answerer, "ANSWERER_", record.answered_by)
    if record.client_id and record.answered_by == event.ANSWERER_CLIENT:
        who += f" {record.client_id}"
    service_ns = record.replied_after_ns - record.sent_after_ns
    text = f"{' '.join(parts)}, {service_ns / 1000:.1f} us by {who}"
    if reply.ticks:
        text += f", {reply.ticks} ticks"
    for effect in reply.effects:
        text += f", {effect.WhichOneof('kind')}"
    return text


def _exit_line(record):
    text = format_exit(record.exit)
    if record.exit.redelivered:
        text += " (redelivered)"
    text += f" -> {_answer(record)}"
    if record.HasField("dump"):
        text += f"; fatal: {record.dump.cause}"
    return text


def _state_line(change):
    before = schema.enum_name(event.VcpuState, "VCPU_STATE_", change.from_state)
    after = schema.enum_name(event.VcpuState, "VCPU_STATE_", change.to_state)
    return f"state {before} -> {after}{' (paused)' if change.paused else ''}"


def format_event(item):
    """One line for an Event, or for a Loss that a Monitor handed out."""
    if isinstance(item, event.Loss):
        return f"vcpu {item.vcpu} lost {item.count} events from #{item.first_seq}"
    what = item.WhichOneof("what")
    if what == "exit":
        at_ns, text = item.exit.exit.left_ns, _exit_line(item.exit)
    elif what == "state":
        at_ns, text = item.state.at_ns, _state_line(item.state)
    else:
        at_ns, text = 0, "an event of a kind newer than this client"
    return f"vcpu {item.vcpu} #{item.seq} @{at_ns / 1e9:.6f} {text}"
