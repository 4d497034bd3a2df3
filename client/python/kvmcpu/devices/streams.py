# SPDX-License-Identifier: MIT
"""The other end of a serial port: a file, standard input and output, a
pseudo-terminal or a socket.

No call waits, but for a write to a file. Both ways there is back-pressure: what
the other end does not take stays with the caller, and nothing is read that the
caller has no room for. A stream says by sources() what it waits for, and
polled() tells it what poll(2) found.
"""

import os
import select
import stat


def ready(descriptor, events):
    """What poll(2) says of descriptor now: events, POLLHUP, POLLERR, or 0."""
    poll = select.poll()
    poll.register(descriptor, events)
    found = poll.poll(0)
    return found[0][1] if found else 0


class Stream:
    """Nobody: what is written is dropped. Base of the others; one thread.

    more     read() may give something now
    stalled  the last write() found no room: sources() waits for it
    written  bytes that write() took, by earlier processes as well
    """

    more = False
    stalled = False

    def __init__(self):
        self.written = 0
        self._skip = 0
        self._begun = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Lets go of descriptors and names. May be called again."""

    def begin(self, written=None):
        """Says once, before the first write, whether an earlier process has written
        already, and how much by its own count; None for a new VM."""
        if not self._begun:
            self._begun = True
            self.written = written or 0

    def write(self, data):
        """How many bytes of data (at least one) were taken, those dropped for want of a
        reader among them; 0 if there is no room now. Raises OSError."""
        if self._skip:
            size = min(self._skip, len(data))
            self._skip -= size
        else:
            size = self._put(data)
        self.stalled = not size
        self.written += size
        return size

    def read(self, size):
        """At most size bytes that came in; b"" if none is there."""
        return b""

    def sources(self, room):
        """[(source, poll events), ...]; room says whether input is welcome."""
        return []

    def polled(self, source, events):
        """Takes note of what poll(2) found."""

    def wait(self):
        """Waits until a stalled output goes on."""
        poll, sources = select.poll(), {}
        for source, events in self.sources(False):
            poll.register(source, events)
            sources[source if isinstance(source, int) else source.fileno()] = source
        for descriptor, events in poll.poll():
            self.polled(sources[descriptor], events)

    def _put(self, data):
        return len(data)


class Output(Stream):
    """Writes to a descriptor, which it does not own."""

    def __init__(self, descriptor):
        super().__init__()
        self._out = descriptor
        self.regular = stat.S_ISREG(os.fstat(descriptor).st_mode)

    def sources(self, room):
        return [(self._out, select.POLLOUT)] if self.stalled else []

    def _put(self, data):
        # Others may share the descriptor, so it stays one that waits; but a pipe that
        # has room for something takes PIPE_BUF bytes at once.
        if not self.regular and not ready(self._out, select.POLLOUT):
            return 0
        return os.write(self._out, data[:select.PIPE_BUF])


class File(Output):
    """The file path, made or emptied.

    With keep it is emptied only by begin(), and continued if written says that an
    earlier process wrote to it: what is in the file beyond its count will not be
    written a second time. Raises OSError.
    """

    def __init__(self, path, keep=False):
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        super().__init__(os.open(path, flags | (0 if keep else os.O_TRUNC), 0o666))

    def begin(self, written=None):
        if not self.regular or self._begun:
            return super().begin(written)
        super().begin(written)
        if written is None:
            os.ftruncate(self._out, 0)
        else:
            self._skip = max(0, os.fstat(self._out).st_size - written)

    def close(self):
        if self._out >= 0:
            os.close(self._out)
        self._out = -1


class Stdio(Output):
    """Standard output, which is not emptied if it is a file, and standard input that is
    no terminal, until its end."""

    def __init__(self):
        super().__init__(1)
        # In the background a read from a terminal would stop this process.
        self._ended = os.isatty(0)

    def read(self, size):
        self.more = False
        if self._ended or not size or not ready(0, select.POLLIN):
            return b""
        data = os.read(0, size)
        self._ended = not data
        self.more = bool(data)
        return data

    def sources(self, room):
        wanted = super().sources(room)
        if room and not self._ended:
            wanted.append((0, select.POLLIN))
        return wanted

    def polled(self, source, events):
        self.more = self.more or source == 0


def open_stream(where, keep=False):
    """The stream that where names: none, -, pty, unix:PATH, or a file; keep as for File.

    The caller closes it. Raises OSError.
    """
    from .stream_pty import Pty
    from .stream_unix import UnixSocket
    from .terminal import Terminal, usable
    if where == "none":
        return Stream()
    if where == "-":
        return Terminal() if usable() else Stdio()
    if where == "pty":
        return Pty()
    if where.startswith("unix:"):
        return UnixSocket(where[len("unix:"):])
    return File(where, keep)
