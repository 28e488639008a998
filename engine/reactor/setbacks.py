"""What a reactor does about exceptions that are nobody's answer: no memory, and mistakes of ours.

The law of this file: a setback costs the connection, the dial or the datagram that it happened to,
and nothing else. What a backend raises from `turn` is its failure, and the reactor's end; but where
memory is short it is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, Protocol

from ...completion import WOKEN
from .timers import TRY_AGAIN

if TYPE_CHECKING:
    from ...completion import Event
    from ..base.contract import Backend
    from ..connection.connection import Connection
    from .callbacks import Callbacks
    from .free_handles import HandleOwner
    from .streams import Streams

NO_EVENT: Final = -1  # the kind while none is being served
_TRIES: Final = 100  # in a row, of turns that find no memory
_REST: Final = 0.01  # seconds between them


class SetbacksLoop(Protocol):
    """A reactor, as it goes on after a setback."""

    backend: Backend
    callbacks: Callbacks
    connections: dict[int, Connection]
    owners: dict[int, HandleOwner]

    @property
    def streams(self) -> Streams: ...
    def wake_up(self) -> None: ...
    def add_timer(self, delay: float, call: Callable[[], object]) -> object: ...


class Setbacks:
    """How a reactor goes on after them, on its thread."""

    def __init__(self, loop: SetbacksLoop) -> None:
        self._loop = loop
        self._tries, self._tried = 0, 0.0  # turns in a row without memory, and the last one

    def break_off(self, conn: Connection, error: BaseException) -> None:
        """Nothing more can be done for a connection: close it at once, with the error."""
        self._loop.callbacks.failed("%r: it is closed at once", conn, error=error)
        self._loop.callbacks.guard(self._loop.streams.cut, conn, error)

    def survive(
        self, events: Iterator[Event], handle: int, kind: int, error: BaseException
    ) -> Iterator[Event]:
        """Go on after an exception in the loop, with the events that are left, or raise it."""
        while True:
            try:
                events = self._events_left(events, handle, kind, error)
                if isinstance(error, MemoryError):
                    self._loop.wake_up()  # should it have been the news of calls that was lost
                return events
            except MemoryError:
                if not self._may_try_again():
                    raise
                sleep(_REST)

    def _events_left(
        self, events: Iterator[Event], handle: int, kind: int, error: BaseException
    ) -> Iterator[Event]:
        trace = error.__traceback__
        if isinstance(error, MemoryError) and (trace is None or trace.tb_next is None):
            events = self._events_again(events)  # none of our calls: the next event was not made
        elif kind != NO_EVENT:
            self._loop.callbacks.guard(self._event_failed, handle, kind, error)
        elif not (isinstance(error, MemoryError) and self._may_try_again()):
            raise error
        else:
            sleep(_REST)
        return events

    def _events_again(self, events: Iterator[Event]) -> Iterator[Event]:
        """Some backends make each event when it is asked for, and lose what cannot be made."""
        rest = getattr(self._loop.backend, "rest", None)
        return rest(events) if rest is not None else events

    def _event_failed(self, handle: int, kind: int, error: BaseException) -> None:
        """An event could not be served."""
        conn = self._loop.connections.get(handle)
        owner = self._loop.owners.get(handle)
        if conn is not None:
            self.break_off(conn, error)
            return
        self._loop.callbacks.failed(
            "%r: an event of kind %d is lost", self._loop, kind, error=error
        )
        if owner is not None:
            owner.on_lost(handle, kind, error)
        elif kind == WOKEN:
            self._loop.backend.wake()  # the calls are still there

    def _may_try_again(self) -> bool:
        self._tries += 1
        with suppress(MemoryError):
            now = monotonic()
            self._tries = self._tries if now - self._tried < 1.0 else 1
            self._tried = now
        return self._tries <= _TRIES

    def timer_failed(self, call: Callable[[], object], error: BaseException) -> None:
        """A timer of ours raised: it is tried again where it found no memory."""
        self._loop.callbacks.failed("%r: the timer of %r raised", self._loop, call, error=error)
        if isinstance(error, MemoryError):
            self._loop.callbacks.guard(self._loop.add_timer, TRY_AGAIN, call)
