# SPDX-License-Identifier: MIT
"""Guest memory, mapped by the descriptor that the daemon hands out.

The guest runs on while it is looked at: what it writes meanwhile may be seen
in part. Addresses are guest-physical; a range must lie within one region.
"""

import mmap
import os


class GuestMemory:
    """A mapping of a VM's memory.

    memory_map is a MemoryMap, descriptor the file it speaks of; the descriptor
    is closed here, the mapping lasts until close(). Raises OSError if it cannot
    be mapped. Usable as a context manager.
    """

    def __init__(self, memory_map, descriptor, writable=False):
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        try:
            end = max(region.offset + region.size_bytes for region in memory_map.regions)
            self._map = mmap.mmap(descriptor, end, access=access)
        finally:
            os.close(descriptor)
        self.writable = writable
        self.regions = list(memory_map.regions)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Unmaps. Raises BufferError while a view() is still held."""
        self._map.close()

    def _offset(self, address, size, to_write=False):
        if size < 0:
            raise ValueError(f"{size} is no size")
        for region in self.regions:
            if region.address <= address and address + size <= region.address + region.size_bytes:
                if to_write and (region.read_only or not self.writable):
                    raise ValueError(f"{address:#x} is read-only")
                return region.offset + address - region.address
        raise ValueError(f"{size} bytes at {address:#x} do not lie in one region of guest memory: "
                         "regions lists them")

    def read(self, address, size):
        """A copy of size bytes. ValueError outside guest memory."""
        offset = self._offset(address, size)
        return self._map[offset:offset + size]

    def write(self, address, data):
        """Writes data. ValueError outside guest memory, or where it is read-only."""
        offset = self._offset(address, len(data), to_write=True)
        self._map[offset:offset + len(data)] = data

    def view(self, address, size):
        """A memoryview of size bytes as they are, and as they change."""
        offset = self._offset(address, size)
        return memoryview(self._map)[offset:offset + size]
