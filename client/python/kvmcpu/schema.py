# SPDX-License-Identifier: MIT
"""The wire schema's generated modules, by short names, and the numbers that its
comments fix.

protoc makes the package kvmcpud.v1 from proto/; it stands beside this package
on the path. Every other module here takes the messages from this one.
"""

try:
    from kvmcpud.v1 import control_pb2 as control
    from kvmcpud.v1 import event_pb2 as event
    from kvmcpud.v1 import exit_pb2 as exit_
    from kvmcpud.v1 import hello_pb2 as hello
except ImportError as error:
    raise ImportError(
        f"{error}: kvmcpu needs python3-protobuf and the package kvmcpud.v1, which the build "
        "generates; run make and put build/client/python on PYTHONPATH, or make install"
    ) from error

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 1

DEVICE_FRAME_MAX = 65536
STREAM_FRAME_MAX = 1 << 20  # monitor.sock and control.sock
HELLO_FRAME_MAX = 1 << 20  # the first frame on each of them

MAX_CLAIMS = 16384
MAX_EFFECTS = 64
MAX_NAME = 64
MAX_REASON = 200
MAX_EFFECT_DATA = 32768
MAX_MEMORY_CALL = 524288
MAX_TICKS = 2**64 - 1

# The kinds of exit that a claim can cover: their field in Exit, and their space.
SPACES = {
    "pio": hello.SPACE_PIO,
    "mmio": hello.SPACE_MMIO,
    "hypercall": hello.SPACE_HYPERCALL,
    "msr": hello.SPACE_MSR,
    "halt": hello.SPACE_HALT,
}


def enum_name(enum, prefix, number):
    """The name of an enumerator for people: lower case, without its prefix."""
    if number in enum.values():
        return enum.Name(number)[len(prefix):].lower()
    return f"unknown {number}"


def enum_number(enum, prefix, value):
    """The number of an enumerator given as a number or by its short name.

    Raises ValueError, naming the choices, for a name that does not exist.
    """
    if isinstance(value, int):
        return value
    try:
        return enum.Value(prefix + value.upper())
    except ValueError:
        names = [enum_name(enum, prefix, n) for n in enum.values() if n]
        raise ValueError(f"{value!r} is none of {', '.join(names)}") from None
