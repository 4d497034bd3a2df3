# SPDX-License-Identifier: MIT
"""Framing: a message's length as a protobuf varint, then the message.

A FrameReader owns one buffer. Its user receives into the room that it offers
and takes whole frames out; a frame is handed out as a view of the buffer, so
nothing is copied. A length above the limit is refused as soon as its header is
there, before the buffer grows for it.
"""

from .errors import ProtocolError

HEADER_MAX = 5  # 32 bits in groups of 7
FIRST_BUFFER = 65536  # picked: a whole device frame, and many monitor frames


def frame(payload):
    """payload (bytes) with its length in front."""
    size = len(payload)
    if size < 0x80:
        return bytes((size,)) + payload
    header = bytearray()
    while size > 0x7F:
        header.append(size & 0x7F | 0x80)
        size >>= 7
    header.append(size)
    return bytes(header) + payload


class FrameReader:
    """Cuts a stream of bytes into frames of at most limit bytes each."""

    def __init__(self, limit):
        self.limit = limit
        self._buffer = memoryview(bytearray(min(limit, FIRST_BUFFER) + HEADER_MAX))
        self._start = self._end = 0
        self._wanted = 0  # bytes from _start that the unfinished frame needs, as far as known

    @property
    def partial(self):
        """Whether the buffer holds bytes that next() has not given out."""
        return self._start != self._end

    def room(self):
        """A writable view to receive into, never empty. Ends the life of frames handed out."""
        start, end = self._start, self._end
        if self._wanted > len(self._buffer):
            grown = memoryview(bytearray(self._wanted))
            grown[: end - start] = self._buffer[start:end]
            self._buffer = grown
        elif start:
            self._buffer[: end - start] = self._buffer[start:end]
        else:
            return self._buffer[end:]
        self._start, self._end = 0, end - start
        return self._buffer[self._end:]

    def received(self, size):
        """Says that size bytes were put into the view that room() gave."""
        self._end += size

    def next(self):
        """The next whole frame's message as a view, or None if more bytes are needed.

        The view holds until the next room(). Raises ProtocolError for a length
        that is no varint of 32 bits or lies above the limit.
        """
        start, end = self._start, self._end
        if start == end:
            return None
        size, body = self._buffer[start], start + 1
        if size > 0x7F:
            size, body = self._long_header(start, end)
            if not body:
                return None
        stop = body + size
        if stop > end:
            self._wanted = stop - start
            return None
        self._wanted = 0
        if stop == end:
            self._start = self._end = 0
        else:
            self._start = stop
        return self._buffer[body:stop]

    def _long_header(self, start, end):
        size = 0
        for index in range(min(HEADER_MAX, end - start)):
            byte = self._buffer[start + index]
            size |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                if size > self.limit:
                    raise ProtocolError(
                        f"a frame of {size} bytes was announced, {self.limit} is the limit here")
                return size, start + index + 1
        if end - start >= HEADER_MAX:
            raise ProtocolError("a frame's length is no varint of 32 bits")
        return 0, 0
