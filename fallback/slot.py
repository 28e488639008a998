"""A slot of the fallback backend: the state of one handle, and which interest follows from it."""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import Any, Final

from ..sockaddr import Way
from .pollers import BOTH, EDGE, READ, WRITE

NEVER: Final = -1  # no mask that a poller reports

CONNECTING: Final = 1  # and not connected yet
DEAF: Final = 2  # it was ready with nothing to read: it is read after a while, not before
MISSED: Final = 4  # the poller, which reports changes only, reported bytes while reading was paused
RETRIED: Final = 8  # it stands among the retries


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
    """One handle. `phases.py` moves it from phase to phase.

    An idle connection has no more than this; what other roles need besides is theirs, below.
    """

    __slots__ = (
        "accepted",
        "broken",
        "edge",
        "error",
        "fd",
        "fin",
        "handle",
        "has_end",
        "index",
        "interest",
        "marks",
        "notify",
        "paused",
        "peer_ended",
        "phase",
        "plain",
        "put_off",
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
        self.interest = 0  # what the poller watches
        self.accepted = 0  # bytes, by send
        self.plain = NEVER  # READ, of an open stream with nothing else going on
        self.queue: deque[memoryview] | None = None  # what the socket did not take at once
        self.error = 0
        self.broken = False
        self.marks = 0  # what is seldom true of it: CONNECTING and the others above
        self.fin = False  # our side is ended, or will be when the queue is empty
        self.notify = False
        self.paused = False
        self.peer_ended = False
        self.has_end = role is Role.STREAM  # the peer's end is reported
        self.put_off = 0  # what was ready and is to be served in the next turn
        self.edge = False  # the poller reports changes only

    def carries_data(self) -> bool:
        return self.role is Role.STREAM or self.role is Role.PACKETS

    def waits(self) -> bool:
        """Whether something waits for room in the socket."""
        return bool(self.queue)

    def sends(self) -> bool:
        """Whether something leaves as soon as the poller reports room."""
        return bool(self.queue)

    def plain_mask(self) -> int:
        """READ if reading and sending need look at nothing else, or NEVER."""
        busy = self.marks & CONNECTING or self.broken or self.fin or self.queue
        is_plain = self.role is Role.STREAM and self.phase is Phase.OPEN and not busy
        return READ if is_plain else NEVER

    def wanted(self) -> int:
        """The interest that follows from the state."""
        if self.broken or self.phase is Phase.ENDED:
            return 0
        if self.marks & CONNECTING:
            return WRITE
        reads = not (self.peer_ended or self.marks & DEAF) and (
            not self.paused or self.phase is not Phase.OPEN
        )
        return (READ if reads else 0) | (WRITE if self.sends() else 0)

    def watched(self) -> int:
        """What the poller watches: with edges the same as long as there is anything."""
        wanted = self.wanted()
        if self.phase is Phase.ENDED or self.broken or self.marks & CONNECTING:
            return wanted
        if self.edge:
            return BOTH | EDGE
        # Nothing is wanted of it, but a reset must be seen.
        return EDGE if not wanted and self.peer_ended and not self.paused else wanted


class PollSlot(Slot):
    """A descriptor that is polled once."""

    __slots__ = ("mask", "owns_fd")

    def __init__(self, handle: int, index: int, fd: int) -> None:
        super().__init__(handle, index, fd, Role.POLL)
        self.mask = 0  # what is asked
        self.owns_fd = False  # it is a duplicate of ours, to be closed at the end

    def wanted(self) -> int:
        return 0 if self.phase is Phase.ENDED else self.mask


class PacketSlot(Slot):
    """A socket that keeps message boundaries."""

    __slots__ = ("held", "is_ordered", "lines", "packets", "room_reported", "tells_local")

    def __init__(self, handle: int, index: int, fd: int) -> None:
        super().__init__(handle, index, fd, Role.PACKETS)
        self.packets: deque[tuple[bytes, Way | None]] | None = None  # that wait
        self.lines: Lines | None = None  # of packets to receivers that are full
        self.is_ordered = False  # datagrams that the socket keeps in order: Unix
        self.tells_local = False  # each datagram comes with the address that it was sent to
        self.room_reported = False  # by the poller, and no packet has left since
        self.held = False  # packets are tried again after a while, not before

    def waits(self) -> bool:
        return bool(self.packets or self.lines)

    def sends(self) -> bool:
        return bool(self.packets) and not self.held
