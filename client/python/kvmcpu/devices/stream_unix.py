# SPDX-License-Identifier: MIT
"""A listening socket that takes one connection at a time, like a port with one plug.

The next one waits in the kernel's queue until the first has left; while there
is none the output is dropped. A peer that shuts down only its sending side is
still a reader.
"""

import contextlib
import errno
import os
import select
import socket
import stat

from .streams import Stream, ready

PATH_MAX = 107  # sockaddr_un's sun_path, less its NUL


def _listen(path):
    if len(os.fsencode(path)) > PATH_MAX:
        raise OSError(errno.ENAMETOOLONG, f"a socket's path has room for {PATH_MAX} bytes", path)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        mask = os.umask(0o177)  # as the daemon's own: for this user alone
        try:
            listener.bind(path)
        finally:
            os.umask(mask)
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, error.strerror, path) from None
    return listener


def _remove_stale(path):
    """Removes what a killed process has left: a socket on which nobody listens. Any
    other file stays, and bind() refuses."""
    with socket.socket(socket.AF_UNIX) as probe:
        found = probe.connect_ex(path)
    if found == 0:
        raise OSError(errno.EADDRINUSE, "the socket is in use by another process", path)
    if found == errno.ECONNREFUSED and stat.S_ISSOCK(os.lstat(path).st_mode):
        os.unlink(path)


class UnixSocket(Stream):
    """Listens at path, which it removes in the end. Raises OSError."""

    def __init__(self, path):
        super().__init__()
        self.path = path
        self._listener = _listen(path)
        self._peer = None
        self._reads = self._writes = False

    def close(self):
        self._detach()
        if self._listener:
            self._listener.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
        self._listener = None

    def read(self, size):
        self.more = False
        if not self._peer or not size or not self._reads:
            return b""
        try:
            data = self._peer.recv(size)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        self.more = bool(data)
        if not data:
            self._reads = False
            if ready(self._peer, select.POLLOUT) & (select.POLLHUP | select.POLLERR):
                self._detach()
        return data

    def sources(self, room):
        if not self._peer:
            return [(self._listener, select.POLLIN)]
        if not self._writes:
            return []  # it has gone, and is read empty first
        return [(self._peer, (select.POLLIN if room and self._reads else 0)
                 | (select.POLLOUT if self.stalled else 0))]

    def polled(self, source, events):
        if source is self._listener:
            with contextlib.suppress(BlockingIOError, ConnectionAbortedError):
                self._peer = self._listener.accept()[0]
                self._peer.setblocking(False)
                self._reads = self._writes = True
            return
        if source is not self._peer:
            return
        if events & (select.POLLHUP | select.POLLERR):
            self._gone()
        self.more = self._reads

    def _put(self, data):
        if not self._writes:
            return len(data)
        try:
            return self._peer.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            self._gone()
            return len(data)

    def _gone(self):
        """Nobody reads any more; what was sent before may still be read here."""
        self._writes = False
        self.more = True
        if not self._reads:
            self._detach()

    def _detach(self):
        if self._peer:
            self._peer.close()
        self._peer = None
        self._reads = self._writes = self.more = False
