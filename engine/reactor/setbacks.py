"""How a reactor handles unexpected exceptions: lack of memory, and bugs in the engine.

The law of this file: a setback costs the connection, the dial or the datagram that it happened to,
and nothing else. An exception from a backend's `turn` means that the backend has failed, and ends
the reactor; but if memory is short, the turn is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from time import monotonic, sleep
from typing import TYPE_CHECKING, Final, Protocol

from ...completion import WOKEN
from ..base.timers import TRY_AGAIN

if TYPE_CHECKING:
    from ...completion import Event
    from ..base.contract import Backend
    from ..connection.connection import Connection
    from .callbacks import Callbacks
    from .free_handles import HandleOwner
    from .streams import Streams

NO_EVENT: Final = -1  # the kind while no event is being handled
_TRIES: Final = 100  # turns in a row that fail for lack of memory
_REST: Final = 0.01  # seconds between them


class SetbacksLoop(Protocol):
    """A reactor, as it recovers from setbacks."""

    backend: Backend
    callbacks: Callbacks
    connections: dict[int, Connection]
    owners: dict[int, HandleOwner]

    @property
    def streams(self) -> Streams: ...
    def wake_up(self) -> None: ...
    def add_timer(self, delay: float, call: Callable[[], object]) -> object: ...


class Setbacks:
    """Recovery from setbacks, on the reactor's thread."""

    def __init__(self, loop: SetbacksLoop) -> None:
        self._loop = loop
        self._tries, self._tried = 0, 0.0  # turns in a row without memory, and the last one

    def break_off(self, conn: Connection, error: BaseException) -> None:
        """Close a connection at once, with the error: nothing more can be done for it."""
        self._loop.callbacks.failed("%r is closed at once", conn, error=error)
        self._loop.callbacks.guard(self._loop.streams.cut, conn, error)

    def survive(
        self, events: Iterator[Event], handle: int, kind: int, error: BaseException
    ) -> Iterator[Event]:
        """Continue after an exception in the loop, with the remaining events, or raise it."""
        while True:
            try:
                events = self._events_left(events, handle, kind, error)
                if isinstance(error, MemoryError):
                    self._loop.wake_up()  # in case a WOKEN event was lost
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
            events = self._events_again(events)  # no call of ours: the next event was not created
        elif kind != NO_EVENT:
            self._loop.callbacks.guard(self._event_failed, handle, kind, error)
        elif not (isinstance(error, MemoryError) and self._may_try_again()):
            raise error
        else:
            sleep(_REST)
        return events

    def _events_again(self, events: Iterator[Event]) -> Iterator[Event]:
        """The remaining events. Some backends create each event during iteration, and lose the
        iteration if one cannot be created."""
        rest = getattr(self._loop.backend, "rest", None)
        return rest(events) if rest is not None else events

    def _event_failed(self, handle: int, kind: int, error: BaseException) -> None:
        """An event could not be handled."""
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
        """A timer of the engine raised: it is tried again if memory was short."""
        self._loop.callbacks.failed("%r: the timer of %r raised", self._loop, call, error=error)
        if isinstance(error, MemoryError):
            self._loop.callbacks.guard(self._loop.add_timer, TRY_AGAIN, call)
