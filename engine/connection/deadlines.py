"""Time limits of a connection, at no cost for its messages.

Nothing is recorded when bytes arrive or are sent. A timer checks from time to time (at intervals of
an eighth of the limit) whether something has happened since its last check: the offset of the last
chunk shows what arrived, the backend's counter what was sent. So a limit is never enforced early,
and at most an eighth late.

The law of this file: no peer is cut off for what we failed to do. A limit is suspended while we do
not read, and if the loop itself was late (a slow handler, a stopped process), what has arrived
meanwhile is read before a limit is enforced.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ...completion import READABLE, WRITABLE

if TYPE_CHECKING:
    from ..base.timers import Timer
from .owner import Owner

_PARTS = 8  # checks within the time of a limit
_SHORTEST = 0.002  # seconds between two checks
_SOONEST = 0.0001  # seconds to the last check
_GRACE = 256  # turns in which bytes that wait unread are read before a deadline is enforced
_COUNTS = 2  # the parts that a countdown has


class Limited(Protocol):
    """A connection, as its limits see it."""

    _handle: int
    _owner: int

    @property
    def peer_has_ended(self) -> bool: ...

    @property
    def _loop(self) -> Owner: ...
    @property
    def is_reading(self) -> bool: ...
    @property
    def outbound_buffered(self) -> int: ...
    def _fail(self, error: Exception) -> None: ...
    def _has_received(self) -> bool: ...


class Deadlines:
    """The limits of one connection, and its state at the last check."""

    __slots__ = (
        "_active",
        "_begun",
        "_conn",
        "_deadline",
        "_first",
        "_grace",
        "_idle",
        "_read",
        "_received",
        "_sent",
        "_sent_count",
        "_timer",
        "_waited",
        "_write",
    )

    def __init__(self, conn: Limited) -> None:
        now = monotonic()
        self._conn = conn
        # Seconds; 0: no limit. The first byte lifts its own limit.
        self._first = self._read = self._write = self._idle = 0.0
        self._deadline = 0.0  # a point in time, not a duration
        self._grace = _GRACE
        # When each limit was last reset.
        self._begun = self._received = self._sent = self._active = now
        self._waited = False  # whether bytes waited at the last check
        self._sent_count = conn._loop.sent(conn._handle)
        self._timer: Timer | None = None

    def begin(self, loop: Owner) -> None:
        """Set the limits of a new connection from the engine's options."""
        options = loop.options
        self._read = options.read_timeout
        self._write = options.write_timeout
        self._idle = options.idle_timeout
        self._first = options.first_byte_timeout
        self._plan(monotonic())

    def set_read(self, seconds: float) -> None:
        self._read = seconds
        self._received = monotonic()
        self._plan(self._received)

    def set_write(self, seconds: float) -> None:
        self._write = seconds
        self._sent = monotonic()
        self._plan(self._sent)

    def set_idle(self, seconds: float) -> None:
        self._idle = seconds
        self._active = monotonic()
        self._plan(self._active)

    def set_deadline(self, seconds: float) -> None:
        now = monotonic()
        self._deadline = now + seconds if seconds else 0.0
        self._grace = _GRACE
        self._plan(now)

    def read_again(self) -> None:
        """Reading resumes: the limits run from now."""
        self._begun = self._received = self._active = monotonic()

    def cancel(self) -> None:
        """The connection has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _plan(self, now: float) -> None:
        """Check again when a limit may have passed."""
        self.cancel()
        then = self._next_check(now)
        if then is not None:
            # Rounding may make it slightly early: then it checks again, but never at once.
            self._timer = self._conn._loop.add_timer(max(then - now, _SOONEST), self._check)

    def _check(self) -> None:
        """See what has happened since the last check; enforce a limit, or check again later."""
        conn = self._conn
        if conn._owner == 0:
            return
        now = monotonic()
        self._update(now)
        if self._passed(now) and not self._is_late(now):
            conn._fail(TimeoutError(errno.ETIMEDOUT, self._passed(now)))
            return
        self._plan(now)

    def _update(self, now: float) -> None:
        """Update the clocks."""
        conn = self._conn
        if conn._has_received():
            self._note_received(now)
        if not conn.is_reading:
            self._begun = self._received = self._active = now
        elif conn.peer_has_ended:
            self._begun = self._received = now
        sent = conn._loop.sent(conn._handle)
        if sent != self._sent_count:
            self._sent_count = sent
            self._sent = self._active = now
        waits = conn.outbound_buffered > 0
        if not (waits and self._waited):
            self._sent = now  # at the last check nothing was waiting yet
        self._waited = waits

    def _note_received(self, now: float) -> None:
        self._received = self._active = now
        self._first = 0.0

    def _is_late(self, now: float) -> bool:
        """Whether it is we who are late: an event not reported yet keeps the limit from passing."""
        conn = self._conn
        pending = conn._loop.backend.pending(conn._handle)
        comes = pending & READABLE and conn.is_reading and not conn.peer_has_ended
        if comes:
            self._note_received(now)
        if pending & WRITABLE and self._waited:
            self._sent = self._active = now
        if comes and self._deadline and now >= self._deadline and self._grace:
            self._grace -= 1  # a peer that keeps sending cannot postpone it forever
            return True
        return not self._passed(now)

    def _passed(self, now: float) -> str:
        """Which limit has passed; "" if none has."""
        if self._deadline and now >= self._deadline:
            return "the deadline set by set_deadline has passed"
        if self._first and now - self._begun >= self._first:
            return f"no byte arrived within first_byte_timeout={self._first} s"
        if self._read and now - self._received >= self._read:
            return f"no byte arrived for read_timeout={self._read} s"
        if self._write and now - self._sent >= self._write:
            return f"bytes are waiting, but none was sent for write_timeout={self._write} s"
        if self._idle and now - self._active >= self._idle:
            return f"nothing arrived and nothing was sent for idle_timeout={self._idle} s"
        return ""

    def _next_check(self, now: float) -> float | None:
        """When to check next; None if there is no limit."""
        times = [self._deadline] if self._deadline else []
        clocks = (
            (self._begun, self._first),
            (self._received, self._read),
            (self._sent, self._write),
            (self._active, self._idle),
        )
        for clock, limit in clocks:
            if limit:
                times.append(min(clock + limit, now + max(limit / _PARTS, _SHORTEST)))
        return min(times, default=None)


class Countdown:
    """A time limit for something as a whole, such as closing a connection.

    It counts two halves, and a half in which the loop was late counts once: so a reactor that was
    blocked makes turns for a while before the limit is enforced.
    """

    __slots__ = ("_call", "_left", "_loop", "_part", "_timer")

    def __init__(self, loop: Owner, seconds: float, call: Callable[[], object]) -> None:
        self._loop = loop
        self._part = seconds / _COUNTS
        self._left = _COUNTS
        self._call: Callable[[], object] | None = call
        self._timer = loop.add_timer(self._part, self._count)

    def cancel(self) -> None:
        """Stop: it has ended in time."""
        self._timer.cancel()
        self._call = None

    def _count(self) -> None:
        left = self._left - 1
        was_late = monotonic() - self._timer.when > max(self._part, _SHORTEST)
        if left > 0 or (left == 0 and was_late):
            self._timer = self._loop.add_timer(self._part, self._count)
            self._left = left
        elif self._call is not None:
            self._call()  # where it finds no memory, the timer comes again
            self._call = None
