# SPDX-License-Identifier: MIT
"""What devices keep over the death of their process, in a file of 20480 bytes.

The file holds two copies of the state and a number that says which of them
counts. A new state is written over the other copy and the number is stored
last, so a process that is killed in between leaves the state before. The file
is mapped: what a store has reached outlives the process. It belongs to one run
of a VM, VmInfo.instance; a VM that was started or reset since begins anew.

    0   8  "kvmcpust"          16  8  instance, 0 while nobody's
    8   4  version, 1          4096 + n * 8192: copy n, 4 bytes of length, then
    12  4  the copy that counts              sections: name 8, length 4, data

Numbers are little-endian. kvmcpu-pc(1) keeps the same, so that one may go on
where the other ended. The section "answer" is the exit that was answered last:
vCPU 4, status 4 (1: bus error), seq 8, data.
"""

import fcntl
import mmap
import os
import struct

from .errors import StateError

MAGIC, VERSION = b"kvmcpust", 1
SIZE, COPIES_AT, COPY_SIZE = 20480, 4096, 8192
_CURRENT, _INSTANCE = 12, 16
_HEAD = struct.Struct("<8sI")
_LENGTH = struct.Struct("<I")
_SECTION = struct.Struct("<8sI")
_ANSWER = struct.Struct("<IIQ")


def pack_sections(sections):
    """{name: bytes} as it stands in a copy."""
    return b"".join(_SECTION.pack(name.encode(), len(data)) + data
                    for name, data in sections.items())


def unpack_sections(data):
    """{name: bytes}, or ValueError for what no pack_sections() made."""
    sections, at = {}, 0
    while at < len(data):
        if len(data) - at < _SECTION.size:
            raise ValueError(f"{len(data) - at} bytes are no section")
        name, length = _SECTION.unpack_from(data, at)
        at += _SECTION.size
        if length > len(data) - at:
            raise ValueError(f"a section of {length} bytes goes beyond the end")
        sections[name.rstrip(b"\0").decode("ascii", "replace")] = bytes(data[at:at + length])
        at += length
    return sections


class StateFile:
    """A state file, opened and locked; made if path does not exist.

    Raises StateError for a file that holds something else, or that another
    process has. The caller closes it, after the Server that uses it. Usable as a
    context manager.
    """

    def __init__(self, path):
        self.path = path
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise StateError(f"{path} cannot be used: {error.strerror}; name a file that can be "
                             "written") from None
        try:
            self._lock(descriptor)
            self._check(descriptor)
            self._map = mmap.mmap(descriptor, SIZE)
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Gives the file to the next process; what was stored stays."""
        self._map.close()
        os.close(self._descriptor)

    def _lock(self, descriptor):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StateError(f"{self.path} is another process's: end that, or name another "
                             "file") from None

    def _check(self, descriptor):
        """Refuses a foreign file and leaves it as it is; gives a new one its size."""
        try:
            size, head = os.fstat(descriptor).st_size, os.pread(descriptor, _HEAD.size, 0)
            if not size:
                return os.ftruncate(descriptor, SIZE)
        except OSError as error:
            raise StateError(f"{self.path} cannot be used: {error.strerror}; name a "
                             "file") from None
        # Zeros: its maker was killed before it had anything to store.
        blank = head[:len(MAGIC)] == bytes(len(MAGIC))
        if size != SIZE or not (blank or head == _HEAD.pack(MAGIC, VERSION)):
            raise StateError(f"{self.path} is no state of this version: name another file, or "
                             "remove it")

    def sections(self, instance):
        """What was stored last for this run of a VM, {name: bytes}; None if nothing was.

        instance is VmInfo.instance; of 0, a daemon that tells none, nothing is ever
        found. Raises StateError for a file that is damaged.
        """
        if not instance or self._map[_INSTANCE:_INSTANCE + 8] != instance.to_bytes(8, "little"):
            return None
        start = COPIES_AT + (self._map[_CURRENT] & 1) * COPY_SIZE
        length, = _LENGTH.unpack_from(self._map, start)
        start += _LENGTH.size
        try:
            if length > COPY_SIZE - _LENGTH.size:
                raise ValueError(f"{length} bytes do not fit a copy")
            return unpack_sections(self._map[start:start + length])
        except ValueError as error:
            raise StateError(f"{self.path} is damaged ({error}): remove it") from None

    def begin(self, instance, packed):
        """Makes the file that of a run of a VM, with packed sections as its first state."""
        self._map[_INSTANCE:_INSTANCE + 8] = bytes(8)
        _HEAD.pack_into(self._map, 0, MAGIC, VERSION)
        self.store(packed)
        self._map[_INSTANCE:_INSTANCE + 8] = instance.to_bytes(8, "little")

    def store(self, packed):
        """Replaces the state by packed sections, whole or not at all. Raises ValueError if
        they are longer than 8188 bytes."""
        if len(packed) > COPY_SIZE - _LENGTH.size:
            raise ValueError(f"a state of {len(packed)} bytes: there is room for "
                             f"{COPY_SIZE - _LENGTH.size}")
        other = 1 - (self._map[_CURRENT] & 1)
        start = COPIES_AT + other * COPY_SIZE
        self._map[start:start + _LENGTH.size + len(packed)] = _LENGTH.pack(len(packed)) + packed
        self._map[_CURRENT] = other


class Keeper:
    """Keeps the devices of one Server in a StateFile; one thread.

    resumed says whether they were found there.
    """

    def __init__(self, file, devices, instance):
        self._file = file
        self._devices = devices
        self._instance = instance
        self._found = file.sections(instance)
        self.resumed = self._found is not None
        self._given = (self._found or {}).get("answer")
        self._packed = {}
        self._answer = b""

    def restore(self):
        """Restores all devices, or starts the file anew; returns the effects due."""
        effects = []
        for device in self._devices:
            try:
                effects += device.restore(self._found) or ()
            except ValueError as error:
                raise StateError(f"{self._file.path}: {error}; remove it") from None
        if self._given is not None:
            self._answer = pack_sections({"answer": self._given})
        for device in self._devices:
            self._packed[device] = pack_sections(device.save())
        if self.resumed:
            self._store()
        else:
            self._file.begin(self._instance, self._joined())
        return effects

    def given(self, access):
        """(bus_error, data) of the answer that access was given by a process that could not
        say whether it arrived; else None."""
        if not access.redelivered or self._given is None or len(self._given) < _ANSWER.size:
            return None
        vcpu, bus_error, seq = _ANSWER.unpack_from(self._given)
        if (vcpu, seq) != (access.vcpu, access.seq):
            return None
        return bool(bus_error), self._given[_ANSWER.size:]

    def answered(self, access, devices, bus_error, data):
        """Stores the answer to access together with what it made of devices."""
        self._answer = pack_sections(
            {"answer": _ANSWER.pack(access.vcpu, bus_error, access.seq) + data})
        self.changed(devices)

    def changed(self, devices):
        """Stores what has become of devices."""
        for device in devices:
            self._packed[device] = pack_sections(device.save())
        self._store()

    def _joined(self):
        return self._answer + b"".join(self._packed.values())

    def _store(self):
        self._file.store(self._joined())
