"""A slot of the fallback backend: the state of one handle, and which interest follows from it."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Any, Final

from ..sockaddr import Way
from .pollers import BOTH, EDGE, READ, WRITE

NEVER: Final = -1  # no mask that a poller reports


class Role(IntEnum):
    """What a handle was started for."""

    LISTENER = 1
    STREAM = 2
    POLL = 3
    PACKETS = 4


class Phase(IntEnum):
    """OPEN -> FLUSHING -> LINGERING -> ENDED; a hard close goes to the end at once."""

    OPEN = 0
    FLUSHING = 1
    LINGERING = 2
    ENDED = 3


class Lines:
    """Packets whose receivers are full, by address, in the order in which those are tried."""

    __slots__ = ("by_way", "size")

    def __init__(self) -> None:
        self.by_way: dict[Way | None, deque[bytes]] = {}
        self.size = 0  # bytes of their packets, with what each costs besides


class Slot:
    """One handle. `phases.py` moves it from phase to phase."""

    __slots__ = (
        "accepted",
        "broken",
        "connecting",
        "deaf",
        "edge",
        "error",
        "fd",
        "fin",
        "handle",
        "has_end",
        "held",
        "index",
        "interest",
        "is_ordered",
        "is_retried",
        "lines",
        "mask",
        "missed",
        "notify",
        "owns_fd",
        "packets",
        "paused",
        "peer_ended",
        "phase",
        "plain",
        "put_off",
        "queue",
        "role",
        "room_reported",
        "sock",
        "tells_local",
    )

    def __init__(self, handle: int, index: int, fd: int, role: Role) -> None:
        self.handle = handle
        self.index = index
        self.fd = fd
        self.role = role
        self.sock: Any = None  # a socket.socket, but for polls
        self.owns_fd = role is not Role.POLL  # and closes it at the end
        self.phase = Phase.OPEN
        self.interest = 0  # what the poller watches
        self.accepted = 0  # bytes, by send
        self.mask = 0  # interest of a poll
        self.plain = NEVER  # READ, of an open stream with nothing else going on
        self.queue: deque[memoryview] | None = None  # what the socket did not take at once
        self.error = 0
        self.broken = False
        self.connecting = False
        self.fin = False  # our side is ended, or will be when the queue is empty
        self.notify = False
        self.paused = False
        self.peer_ended = False
        self.has_end = role is Role.STREAM  # the peer's end is reported
        self.packets: deque[tuple[bytes, Way | None]] | None = None  # that wait
        self.lines: Lines | None = None  # of packets to receivers that are full
        self.is_ordered = False  # datagrams that the socket keeps in order: Unix
        self.tells_local = False  # each datagram comes with the address that it was sent to
        self.room_reported = False  # by the poller, and no packet has left since
        self.held = False  # packets are tried again after a while, not before
        self.deaf = False  # it was ready with nothing to read: it is read after a while, not before
        self.is_retried = False  # it stands among the retries
        self.put_off = 0  # what was ready and is to be served in the next turn
        self.edge = False  # the poller reports changes only
        self.missed = False  # it reported bytes while reading was paused

    def carries_data(self) -> bool:
        return self.role is Role.STREAM or self.role is Role.PACKETS

    def waits(self) -> bool:
        """Whether something waits for room in the socket."""
        return bool(self.queue or self.packets or self.lines)

    def plain_mask(self) -> int:
        """READ if reading and sending need look at nothing else, or NEVER."""
        busy = self.connecting or self.broken or self.fin or self.queue
        is_plain = self.role is Role.STREAM and self.phase is Phase.OPEN and not busy
        return READ if is_plain else NEVER

    def wanted(self) -> int:
        """The interest that follows from the state."""
        if self.role is Role.POLL:
            return self.mask
        if self.broken or self.phase is Phase.ENDED:
            return 0
        if self.connecting:
            return WRITE
        reads = not (self.peer_ended or self.deaf) and (
            not self.paused or self.phase is not Phase.OPEN
        )
        return (READ if reads else 0) | (
            WRITE if self.queue or (self.packets and not self.held) else 0
        )

    def watched(self) -> int:
        """What the poller watches: with edges the same as long as there is anything."""
        wanted = self.wanted()
        if self.phase is Phase.ENDED or self.broken or self.connecting:
            return wanted
        if self.edge:
            return BOTH | EDGE
        # Nothing is wanted of it, but a reset must be seen.
        return EDGE if not wanted and self.peer_ended and not self.paused else wanted
