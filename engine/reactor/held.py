"""Held connections: they are not read because the engine has buffered `max_buffered` bytes, or
because they have `max_inbound` unread bytes themselves.

For `max_buffered` it does not matter whose bytes these are: a connection may wait for half a
message while others, even on another reactor, use up the limit. So nothing that it does itself can
make it continue.

The laws of this file: held connections continue in order when there is room again, no more at once
than there is room for. While there are any, the reactor checks every CHECK_EVERY seconds; code that
makes room need not know of them. And a peer that has gone does not stay held: once its end has
arrived, no more can come than what the system has already, and that is read, one peer after the
other, so that the handler is notified of the end.
"""

from __future__ import annotations

from itertools import chain, islice
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from ...completion import HUNG_UP

if TYPE_CHECKING:
    from ..base.timers import Timer
from ..connection.owner import Owner

CHECK_EVERY: Final = 0.02  # seconds
_ENDS_EVERY: Final = 0.2  # seconds, if none waits for room in the engine
_CHECKED_AT_ONCE: Final = 64  # connections that are checked for the peer's end at once
_SHARE: Final = 16  # a connection needs 1/16 of `max_buffered` as room, if that is small


class Holdable(Protocol):
    """A connection that can be held."""

    _handle: int
    _paused: bool

    @property
    def peer_has_ended(self) -> bool: ...
    @property
    def _is_held(self) -> bool: ...
    def _release_if_small(self) -> None: ...
    def _release_hold(self) -> None: ...


class Held:
    """The held connections of one reactor, on its thread."""

    def __init__(self, loop: Owner) -> None:
        self._loop = loop
        self._line: dict[Holdable, None] = {}  # in order, waiting for room in the engine
        self._full: dict[Holdable, None] = {}  # waiting for their own handler
        self._ended: set[Holdable] = set()  # exempt, since their peers have ended
        self._draining: Holdable | None = None  # the last of those, until it is read to its end
        self._checked = 0  # how many were checked for the peer's end in this round
        self._timer: Timer | None = None  # of the next check

    def __len__(self) -> int:
        return len(self._line) + len(self._full) + len(self._ended)

    def add(self, conn: Holdable, *, is_full: bool = False) -> None:
        """Hold a connection, behind the others; or because it has too much itself (`is_full`)."""
        (self._full if is_full else self._line)[conn] = None
        self._check_within(self._interval())

    def discard(self, conn: Holdable) -> None:
        """The connection continues by itself."""
        self._line.pop(conn, None)
        self._full.pop(conn, None)

    def forget(self, conn: Holdable) -> None:
        """The connection has ended."""
        self.discard(conn)
        self._ended.discard(conn)
        if conn is self._draining:
            self._draining = None
            self._check_within(0.0)  # the next may follow

    def may_hold(self, conn: Holdable) -> bool:
        """Whether it may be held: not if its peer has ended and the rest is being read."""
        return conn not in self._ended

    def _interval(self) -> float:
        is_busy = self._line or self._checked or self._draining is not None
        return CHECK_EVERY if is_busy else _ENDS_EVERY

    def _check_within(self, seconds: float) -> None:
        if self._timer is not None:
            if self._timer.when <= monotonic() + seconds:
                return
            self._timer.cancel()
            self._timer = None
        self._timer = self._loop.add_timer(seconds, self._check)

    def _check(self) -> None:
        """Let as many continue as there is room for, by what each may receive at once."""
        self._timer = None
        for conn in list(islice(self._line, self._count())):
            conn._release_if_small()  # first: if that fails, it is tried again
            self.discard(conn)
            if conn._is_held:
                self._full[conn] = None
        self._drain_next()
        if self._line or self._full:
            self._check_within(self._interval())

    def _drain_next(self) -> None:
        """Read the rest from the next peer that has ended: one after the other, since each brings
        as much as its socket has."""
        last = self._draining
        if last is not None and not (last.peer_has_ended or last._paused):
            return
        self._draining = None
        everyone = chain(self._line, self._full)
        checked = list(islice(everyone, self._checked, self._checked + _CHECKED_AT_ONCE))
        for conn in checked:
            if not conn._paused and self._loop.backend.pending(conn._handle) & HUNG_UP:
                conn._release_hold()  # first: memory may be short
                self._ended.add(conn)
                self._draining = conn
                return
            self._checked += 1
        if len(checked) < _CHECKED_AT_ONCE:
            self._checked = 0  # the round is over

    def _count(self) -> int:
        options = self._loop.options
        room = options.max_buffered - self._loop.budget.buffered
        if room <= 0:
            return 0
        each = min(options.receive_buffer_size, max(1, options.max_buffered // _SHARE))
        # The other reactors see the same room at the same time.
        return max(1, room // (each * options.reactors))
