# SPDX-License-Identifier: MIT
"""What can go wrong, as one small tree of exceptions.

Everything this package raises on purpose is an Error, except for a caller's
own mistakes (a bad name, a size that does not exist), which are ValueError or
TypeError. Each class says what the caller can do next.
"""


class Error(Exception):
    """The root of the tree."""


class ConnectError(Error):
    """No daemon could be reached. Start one, or name another VM or runtime directory."""


class Refused(Error):
    """The daemon answered Hello with a refusal; the message says why and what to do.

    status is a HELLO_STATUS_* number, reply the whole HelloReply. With
    HELLO_STATUS_OVERLAP another client owns the range: stop that one first.
    """

    def __init__(self, reply, status_name):
        super().__init__(f"the daemon refused this client ({status_name}): {reply.message}")
        self.status = reply.status
        self.reply = reply


class Closed(Error):
    """The daemon closed the connection: the VM has ended. Connect anew to go on."""


class ProtocolError(Error):
    """One side broke the protocol. The connection is of no further use: close it."""


class StateError(Error):
    """A state file cannot be used. Name another one, or remove it."""


class Timeout(Error, TimeoutError):
    """Nothing came in time. The connection is intact: ask again, or give up."""


class ControlError(Error):
    """The daemon failed a request; the connection and the VM are as they were.

    code is an ERROR_CODE_* number, message the daemon's own sentence.
    """

    def __init__(self, code, message, code_name):
        super().__init__(f"{message} ({code_name})")
        self.code = code
        self.message = message
