"""How a reactor stops: gracefully, at once, or because its backend has failed.

The law of this file: a failing step does not prevent the others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from ...completion import GRACEFUL, NOW, retried
from ..base.errors import NO_MORE
from ..base.logs import EXITS
from ..connection.deadlines import Countdown
from ..connection.owner import Owner

if TYPE_CHECKING:
    from ..connection.connection import Connection
    from ..connection.origin import Origin
    from .acceptor import Acceptor
    from .callbacks import Callbacks
    from .dials import Dials
    from .endpoints import Endpoints
    from .streams import Streams


class StoppingLoop(Owner, Protocol):
    """A reactor, as it stops."""

    acceptor: Acceptor
    callbacks: Callbacks
    connections: dict[int, Connection]
    dials: Dials
    endpoints: Endpoints
    streams: Streams


class Stopping:
    """On the reactor's thread."""

    def __init__(self, loop: StoppingLoop) -> None:
        self._loop = loop
        self.has_begun = False
        self.is_over = False  # the time to stop has passed: no connection may be left
        self._over_at = inf  # when it will pass, by monotonic()

    def stop(self, timeout: float) -> None:
        """Stop accepting, drain every connection, then end the loop. gnet: Stop.

        What is still open after `timeout` seconds is closed at once; with 0, immediately.
        """
        first, self.has_begun = not self.has_begun, True
        guard = self._loop.callbacks.guard
        if timeout > 0:
            guard(retried, self._limit, timeout)  # first: else it might wait for ever
        if first:
            self._begin()
        if timeout <= 0:
            self._close_all_now()

    def _limit(self, timeout: float) -> None:
        over_at = monotonic() + timeout
        if over_at < self._over_at:  # a later call can only shorten the time
            Countdown(self._loop, timeout, self._close_all_now)
            self._over_at = over_at

    def _begin(self) -> None:
        loop, guard = self._loop, self._loop.callbacks.guard
        guard(loop.acceptor.close, GRACEFUL)
        guard(loop.dials.give_up, NO_MORE)
        guard(self._each, loop.streams.drain, loop.streams.shorten_linger)
        guard(loop.endpoints.close, GRACEFUL)

    def _each(self, *steps: Callable[[Connection], None]) -> None:
        """Take the steps with every connection."""
        for conn in retried(list, self._loop.connections.values()):
            for step in steps:
                self._loop.callbacks.guard(step, conn)

    def close_all(self, origin: Origin) -> None:
        """Close the connections of an origin gracefully, and end its dials."""
        guard = self._loop.callbacks.guard
        guard(self._loop.dials.give_up, "the client has stopped", origin)
        guard(self._loop.streams.close_of_origin, origin)

    def abandon(self, failure: BaseException | None) -> None:
        """End the connections that are left when the backend has failed."""
        loop, guard = self._loop, self._loop.callbacks.guard
        error = None if isinstance(failure, EXITS) else failure  # an exit is not their error
        guard(loop.dials.give_up, NO_MORE)
        guard(self._each, partial(loop.streams.abandon, error=error))
        guard(loop.endpoints.abandon)

    def _close_all_now(self) -> None:
        self.is_over = True
        loop, guard = self._loop, self._loop.callbacks.guard
        guard(loop.acceptor.close, NOW)
        guard(self._each, loop.streams.cut)
        guard(loop.endpoints.close, NOW)
