"""A slot of the fallback backend: the state of one handle, and which interest follows from it."""

from __future__ import annotations

import socket
import struct
import sys
from collections import deque
from enum import IntEnum
from typing import Any

from .pollers import READ, WRITE


class Role(IntEnum):
    """What a handle was started for."""

    LISTENER = 1
    STREAM = 2
    POLL = 3


class Phase(IntEnum):
    """OPEN -> FLUSHING -> LINGERING -> ENDED; a hard close goes to the end at once."""

    OPEN = 0
    FLUSHING = 1
    LINGERING = 2
    ENDED = 3


class Slot:
    """One handle. The backend's methods move it from phase to phase."""

    __slots__ = (
        "accepted",
        "broken",
        "connecting",
        "error",
        "fd",
        "fin",
        "handle",
        "index",
        "interest",
        "mask",
        "notify",
        "paused",
        "peer_ended",
        "phase",
        "plain",
        "queue",
        "role",
        "sock",
    )

    def __init__(self, handle: int, index: int, fd: int, role: Role) -> None:
        self.handle = handle
        self.index = index
        self.fd = fd
        self.role = role
        self.sock: Any = None  # a socket.socket, but for polls
        self.phase = Phase.OPEN
        self.interest = 0  # what the poller was told
        self.accepted = 0  # bytes, by send
        self.mask = 0  # interest of a poll
        self.plain = False  # an open stream with nothing else going on
        self.queue: deque[memoryview] | None = None  # what the socket did not take at once
        self.error = 0
        self.broken = False
        self.connecting = False
        self.fin = False  # our side is ended, or will be when the queue is empty
        self.notify = False
        self.paused = False
        self.peer_ended = False

    def is_plain(self) -> bool:
        """Whether reading and sending need look at nothing else."""
        busy = self.connecting or self.broken or self.fin or self.queue
        return self.role is Role.STREAM and self.phase is Phase.OPEN and not busy

    def wanted(self) -> int:
        """The interest that follows from the state."""
        if self.role is Role.POLL:
            return self.mask
        if self.broken or self.phase is Phase.ENDED:
            return 0
        if self.connecting:
            return WRITE
        reads = not self.peer_ended and (not self.paused or self.phase is not Phase.OPEN)
        return (READ if reads else 0) | (WRITE if self.queue else 0)


def unpack_address(packed: bytes) -> tuple[int, Any]:
    """(family, address as `socket.connect` takes it) of a packed `struct sockaddr`."""
    if sys.platform.startswith(("darwin", "freebsd", "openbsd", "netbsd", "dragonfly")):
        family = packed[1]  # behind sa_len
    else:
        (family,) = struct.unpack_from("=H", packed)
    if family == socket.AF_INET:
        (port,) = struct.unpack_from("!H", packed, 2)
        return family, (socket.inet_ntop(family, packed[4:8]), port)
    if family == socket.AF_INET6:
        port, flow = struct.unpack_from("!HI", packed, 2)
        (scope,) = struct.unpack_from("=I", packed, 24)
        return family, (socket.inet_ntop(family, packed[8:24]), port, flow, scope)
    path = packed[2:]
    return family, path if path[:1] == b"\0" else path.split(b"\0", 1)[0]
