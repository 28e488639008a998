"""What the reactors of an engine share: bounds on memory and connections, and who still accepts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from threading import RLock
from typing import TYPE_CHECKING

from .errors import ConnectionClosed

if TYPE_CHECKING:
    from .options import Options
    from .reactor import Reactor


class Shared:
    """The part of an engine that its reactors ask; for any thread."""

    if TYPE_CHECKING:  # what Engine has
        options: Options
        _reactors: list[Reactor]

    def __init__(self) -> None:
        self._shared_lock = RLock()  # a handler of a signal may interrupt who holds it
        self._accepting: set[Reactor] = set()
        self._resting: set[Reactor] = set()

    @property
    def buffered(self) -> int:
        """Bytes that connections have in memory beyond their stages and below no bound of theirs:
        what handlers left unread, and what is written above the high-water marks."""
        return sum(reactor.buffered for reactor in self._reactors)

    def may_buffer(self, more: int) -> bool:
        """Whether so many bytes more are within `max_buffered`."""
        return self.buffered + more <= self.options.max_buffered

    # Who accepts: a reactor may not end while another may still hand a newcomer to it

    @property
    def still_accepts(self) -> bool:
        """Whether a listener of the engine is open."""
        return bool(self._accepting)

    def note_accepting(self, reactor: Reactor, accepts: bool) -> None:
        """A reactor has its first listener, or has lost its last."""
        with self._shared_lock:
            was = bool(self._accepting)
            (self._accepting.add if accepts else self._accepting.discard)(reactor)
            last = was and not self._accepting
        if last:
            self._post_all(lambda: None)  # they may end now

    # Who rests: connections of all reactors count, and any may make room

    @property
    def is_resting(self) -> bool:
        """Whether newcomers wait for a connection to end."""
        return bool(self._resting)

    def note_resting(self, reactor: Reactor, rests: bool) -> None:
        """A reactor has begun or ended to let newcomers wait."""
        with self._shared_lock:
            (self._resting.add if rests else self._resting.discard)(reactor)

    def connection_ended(self) -> None:
        """There may be room for those who wait."""
        with self._shared_lock:
            resting = list(self._resting)
        for reactor in resting:
            with suppress(ConnectionClosed):
                reactor.post_own(reactor.go_on_accepting)

    def _post_all(self, call: Callable[[], object]) -> None:
        for reactor in self._reactors:
            with suppress(ConnectionClosed):
                reactor.post_own(call)
