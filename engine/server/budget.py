"""What the reactors of an engine share: limits on memory and connections, and which accept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import RLock
from typing import Any, Protocol

from ..base.errors import ConnectionClosed
from ..base.options import Options


class Member(Protocol):
    """A reactor, as the budget sees it."""

    buffered: int
    given: int
    begun: int
    ended: int

    def post_own(self, call: Callable[..., object], *arguments: Any) -> None: ...
    def admit_waiting(self) -> None: ...


class Members(Protocol):
    """The reactors, once they have started."""

    @property
    def reactors(self) -> Sequence[Member]: ...


class Budget:
    """For any thread."""

    def __init__(self, options: Options, group: Members) -> None:
        self._options = options
        self._group = group
        self._lock = RLock()  # a signal handler may interrupt the thread that holds it
        self._accepting: set[Member] = set()
        self._resting: set[Member] = set()
        # As the option says, or fewer if the backends have less room.
        self.max_connections = options.max_connections

    @property
    def connections(self) -> int:
        """How many are open, or being handed to their reactor."""
        count = 0
        for reactor in self._group.reactors:  # `load` inline: this runs for each new connection
            count += reactor.given + reactor.begun - reactor.ended
        return count

    @property
    def is_full(self) -> bool:
        """Whether there are `max_connections` connections."""
        return self.connections >= self.max_connections

    @property
    def buffered(self) -> int:
        """Bytes that count for `max_buffered`: those that handlers left unread, and those that wait
        to be sent above the high-water marks."""
        return sum(reactor.buffered for reactor in self._group.reactors)

    def may_buffer(self, more: int) -> bool:
        """Whether `more` bytes would still be within `max_buffered`."""
        return self.buffered + more <= self._options.max_buffered

    # Accepting: a reactor may not end while another may still hand a connection to it

    @property
    def still_accepts(self) -> bool:
        """Whether a listener of the engine is open."""
        return bool(self._accepting)

    def note_accepting(self, reactor: Member, accepts: bool) -> None:
        """A reactor has its first listener, or has lost its last."""
        with self._lock:
            was = bool(self._accepting)
            (self._accepting.add if accepts else self._accepting.discard)(reactor)
            last = was and not self._accepting
        if last:
            for member in self._group.reactors:
                with suppress(ConnectionClosed):
                    member.post_own(_wake_only)

    # Resting: connections of all reactors count, and the end of any makes room

    @property
    def is_resting(self) -> bool:
        """Whether new connections wait for another to end."""
        return bool(self._resting)

    def note_resting(self, reactor: Member, rests: bool) -> None:
        """A reactor has begun or ceased to let new connections wait."""
        with self._lock:
            (self._resting.add if rests else self._resting.discard)(reactor)

    def connection_ended(self) -> None:
        """There may be room for new connections that wait."""
        with self._lock:
            resting = list(self._resting)
        for reactor in resting:
            with suppress(ConnectionClosed):
                reactor.post_own(reactor.admit_waiting)


def _wake_only() -> None:
    """Does nothing: a loop that wakes checks whether it may end."""
