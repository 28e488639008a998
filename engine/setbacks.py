"""What a reactor does about exceptions that are nobody's answer: no memory, and mistakes of ours.

The law of this file: a setback costs the connection, the dial or the datagram that it happened to,
and nothing else. What a backend raises from `turn` is its failure, and the reactor's end; but where
memory is short it is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, Final

from ..completion import ACCEPTED, NOW, STALLED, WOKEN
from .timers import TRY_AGAIN

if TYPE_CHECKING:
    from ..completion import Event
    from .acceptor import Acceptor
    from .backend import Backend
    from .connection import Connection
    from .dial import Dial
    from .timers import Timers

NO_EVENT: Final = -1  # the kind while none is being served
_TRIES: Final = 100  # in a row, of turns that find no memory
_REST: Final = 0.01  # seconds between them


class Setbacks:
    """The part of a reactor that goes on after them, on its thread."""

    if TYPE_CHECKING:  # what Reactor has
        backend: Backend
        connections: dict[int, Connection]
        dials: dict[int, Dial]
        _acceptor: Acceptor
        wake_up: Callable[[], None]
        _timers: Timers
        _tried: float
        _tries: int

        def failed(self, text: str, *arguments: object, error: BaseException) -> None: ...
        def guard(self, call: Callable[..., object], *arguments: Any) -> None: ...

    def break_off(self, conn: Connection, error: BaseException) -> None:
        """Nothing more can be done for a connection: close it at once, with the error."""
        self.failed("%r: it is closed at once", conn, error=error)
        self.guard(conn._end, NOW, error)

    def _survive(
        self, events: Iterator[Event], handle: int, kind: int, error: BaseException
    ) -> Iterator[Event]:
        """Go on after an exception in the loop, with the events that are left, or raise it."""
        while True:
            try:
                events = self._go_on(events, handle, kind, error)
                if isinstance(error, MemoryError):
                    self.wake_up()  # should it have been the news of calls that was lost
                return events
            except MemoryError:
                if not self._may_try_again():
                    raise
                sleep(_REST)

    def _go_on(
        self, events: Iterator[Event], handle: int, kind: int, error: BaseException
    ) -> Iterator[Event]:
        trace = error.__traceback__
        if isinstance(error, MemoryError) and (trace is None or trace.tb_next is None):
            events = self._events_again(events)  # none of our calls: the next event was not made
        elif kind != NO_EVENT:
            self.guard(self._event_failed, handle, kind, error)
        elif not (isinstance(error, MemoryError) and self._may_try_again()):
            raise error
        else:
            sleep(_REST)
        return events

    def _events_again(self, events: Iterator[Event]) -> Iterator[Event]:
        """Some backends make each event when it is asked for, and lose what cannot be made."""
        rest = getattr(self.backend, "rest", None)
        return rest(events) if rest is not None else events

    def _event_failed(self, handle: int, kind: int, error: BaseException) -> None:
        """An event could not be served."""
        conn = self.connections.get(handle)
        dial = self.dials.get(handle)
        if conn is not None:
            self.break_off(conn, error)
            return
        self.failed("%r: an event of kind %d is lost", self, kind, error=error)
        if dial is not None:
            dial._fail(error)
        elif kind == ACCEPTED:
            self._acceptor.lose_newcomer()
        elif kind == WOKEN:
            self.backend.wake()  # the calls are still there
        elif kind == STALLED:
            self.backend.resume(handle)  # which says so again, where it still holds

    def _may_try_again(self) -> bool:
        self._tries += 1
        with suppress(MemoryError):
            now = monotonic()
            self._tries = self._tries if now - self._tried < 1.0 else 1
            self._tried = now
        return self._tries <= _TRIES

    def _timer_failed(self, call: Callable[[], object], error: BaseException) -> None:
        self.failed("%r: the timer of %r raised", self, call, error=error)
        if isinstance(error, MemoryError):
            self.guard(self._timers.add, TRY_AGAIN, call)
