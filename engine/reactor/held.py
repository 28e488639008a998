"""Connections whose reading rests because the engine holds `max_buffered` bytes, or they hold
`max_inbound` themselves.

Whose bytes these are does not matter: a connection may wait for half a message while others hold
all that may be held, also those of another reactor. So it does not go on by what it does itself.

The laws of this file: those held go on in their order when there is room again, no more of them at
once than there is room for. While there are any, the reactor looks each LOOK_EVERY; whoever makes
room need not know of them. And whoever has gone holds nothing for good: where the end of a peer has
arrived, no more comes than the system has already, and that is read, one peer after the other, so
that the handler hears of the end.
"""

from __future__ import annotations

from itertools import chain, islice
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from ...completion import HUNG_UP

if TYPE_CHECKING:
    from ..connection.owner import Owner, Planned

LOOK_EVERY: Final = 0.02  # seconds
_ENDS_EVERY: Final = 0.2  # seconds, where nobody waits for others
_ASKED_AT_ONCE: Final = 64  # whether their peers have ended
_SHARE: Final = 16  # the part of `max_buffered` that is room for one connection, if it is small


class Holdable(Protocol):
    """A connection, as it is held."""

    _handle: int
    _paused: bool

    @property
    def peer_has_ended(self) -> bool: ...
    @property
    def _is_held(self) -> bool: ...
    def _release_if_small(self) -> None: ...
    def _release_hold(self) -> None: ...


class Held:
    """Those of one reactor, on its thread."""

    def __init__(self, loop: Owner) -> None:
        self._loop = loop
        self._line: dict[Holdable, None] = {}
        self._full: dict[Holdable, None] = {}  # they wait for their own handler
        self._ended: set[Holdable] = set()  # held no more, whatever they hold
        self._draining: Holdable | None = None  # the last of them, until it is read to its end
        self._asked = 0  # of all of them, in this round
        self._timer: Planned | None = None  # of the next look

    def __len__(self) -> int:
        return len(self._line) + len(self._full) + len(self._ended)

    def add(self, conn: Holdable, *, is_full: bool = False) -> None:
        """It stands behind the others; or it holds too much itself, and waits for no room."""
        (self._full if is_full else self._line)[conn] = None
        self._check_within(self._interval())

    def discard(self, conn: Holdable) -> None:
        """It goes on by itself."""
        self._line.pop(conn, None)
        self._full.pop(conn, None)

    def forget(self, conn: Holdable) -> None:
        """It has ended."""
        self.discard(conn)
        self._ended.discard(conn)
        if conn is self._draining:
            self._draining = None
            self._check_within(0.0)  # the next may follow

    def may_hold(self, conn: Holdable) -> bool:
        """Not to the end of what is there already of a peer that has ended."""
        return conn not in self._ended

    def _interval(self) -> float:
        is_busy = self._line or self._asked or self._draining is not None
        return LOOK_EVERY if is_busy else _ENDS_EVERY

    def _check_within(self, seconds: float) -> None:
        if self._timer is not None:
            if self._timer.when <= monotonic() + seconds:
                return
            self._timer.cancel()
            self._timer = None
        self._timer = self._loop.add_timer(seconds, self._check)

    def _check(self) -> None:
        """Let as many go on as there is room for what each may bring at once."""
        self._timer = None
        for conn in list(islice(self._line, self._count())):
            conn._release_if_small()  # first: where that fails, it is tried again
            self.discard(conn)
            if conn._is_held:
                self._full[conn] = None
        self._drain_next()
        if self._line or self._full:
            self._check_within(self._interval())

    def _drain_next(self) -> None:
        """Read the next peer that has ended to its end: one after the other, since each brings as
        much as its socket holds."""
        last = self._draining
        if last is not None and not (last.peer_has_ended or last._paused):
            return
        self._draining = None
        everyone = chain(self._line, self._full)
        asked = list(islice(everyone, self._asked, self._asked + _ASKED_AT_ONCE))
        for conn in asked:
            if not conn._paused and self._loop.backend.pending(conn._handle) & HUNG_UP:
                conn._release_hold()  # first: there may be no memory for it
                self._ended.add(conn)
                self._draining = conn
                return
            self._asked += 1
        if len(asked) < _ASKED_AT_ONCE:
            self._asked = 0  # the round is over

    def _count(self) -> int:
        options = self._loop.options
        room = options.max_buffered - self._loop.budget.buffered
        if room <= 0:
            return 0
        each = min(options.receive_buffer_size, max(1, options.max_buffered // _SHARE))
        # The other reactors see the same room in the same moment.
        return max(1, room // (each * options.reactors))
