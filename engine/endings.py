"""How connections of a reactor end: the peer's end, errors, time limits, and the engine's stop.

The law of this file: each connection gets `on_close` exactly once, after its descriptor is closed,
and whatever has to wait for a peer has a time limit.
"""

from __future__ import annotations

import errno
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from ..completion import GRACEFUL, NOW
from .deadlines import Countdown
from .errors import network_error, release_frames
from .logs import EXITS

if TYPE_CHECKING:
    from .acceptor import Acceptor
    from .backend import Backend
    from .callbacks import Callbacks
    from .connection import Connection
    from .dial import Dial
    from .endpoints import Endpoints
    from .handles import Handles
    from .host import Host
    from .options import Options
    from .origin import Origin
    from .timers import Timers

STOP_LINGER = 0.05  # seconds for a peer to end its side when the engine stops


class Linger(Countdown):
    """The while that a peer has to end its side, once ours is ended."""

    __slots__ = ()


class Endings:
    """The part of a reactor that ends connections, on its thread."""

    if TYPE_CHECKING:  # what Reactor has
        callbacks: Callbacks
        again: dict[Connection, None]
        backend: Backend
        buffered: int
        connections: dict[int, Connection]
        dialing: set[Dial]
        dials: dict[int, Dial]
        ended: int
        endpoints: Endpoints
        engine: Host
        options: Options
        _acceptor: Acceptor
        _handles: Handles
        _is_over: bool
        _over_at: float
        _stopping: bool
        _timers: Timers

        @property
        def _reactor(self) -> Any: ...

    # The peer's end, and the network's failures

    def _on_eof(self, handle: int, a: int, b: int) -> None:
        conn = self.connections[handle]
        conn._peer_ended = True
        if conn._paused or conn in self.again:
            conn._end_due = True  # after what the handler has not seen yet
        else:
            self.tell_end(conn)

    def tell_end(self, conn: Connection) -> None:
        """Tell the handler that the peer has ended its side."""
        conn._end_due = False
        if conn._owner:
            self.callbacks.call(conn, conn._origin.handler.on_end, "on_end")
        if conn._owner and conn._is_shut:
            conn._finish(None)

    def _on_error(self, handle: int, a: int, b: int) -> None:
        conn = self.connections.get(handle)
        if conn is None:
            self._broken(handle, a)
        elif conn._owner or conn._overflow is not None:  # or it waits to be closed softly
            conn._fail(network_error(-a))

    def _broken(self, handle: int, result: int) -> None:
        """Something that is no connection."""
        dial = self.dials.get(handle)
        if dial is not None:
            dial.on_error(handle, result)
        elif not self.endpoints.on_error(handle, result):
            self._acceptor.on_error(handle, result)

    # Our end

    def watch_close(self, conn: Connection) -> None:
        """Bound the time a closing connection has to send what it owes."""
        timeout = self.options.close_timeout
        conn._timer = Countdown(self._reactor, timeout, partial(self._close_timed_out, conn))

    def _close_timed_out(self, conn: Connection) -> None:
        conn._timer = None
        if conn._error is None and conn.outbound_buffered:
            conn._error = TimeoutError(
                errno.ETIMEDOUT,
                f"{conn.outbound_buffered} bytes could not be sent in close_timeout="
                f"{self.options.close_timeout} s",
            )
        conn._end(NOW, None)

    def _on_shut(self, handle: int, a: int, b: int) -> None:
        """All is sent and our side is ended: the peer gets a while to end its own."""
        conn = self.connections[handle]
        if conn._owner:
            return  # it was shutdown_write: reading goes on
        conn._count_outbound(0)
        self._cancel_timer(conn)
        seconds = self.options.linger_timeout
        self._linger(conn, min(seconds, STOP_LINGER) if self._stopping else seconds)

    def _linger(self, conn: Connection, seconds: float) -> None:
        close = partial(self.backend.close, conn._handle, NOW)
        conn._timer = Linger(self._reactor, seconds, close)

    def _on_closed(self, handle: int, lost: int, status: int) -> None:
        conn = self.connections.pop(handle, None)
        self.callbacks.guard(self._handles.give_back, handle)
        if conn is not None:
            self.callbacks.guard(self._tidy_up, conn, lost, status)
            self.callbacks.on_close(conn)
            self.callbacks.guard(self._let_loose, conn)
            if self.engine.is_resting:
                self.engine.connection_ended()
        elif self.dials.pop(handle, None) is None and not self.endpoints.on_closed(handle):
            self._acceptor.on_closed(handle)

    def _tidy_up(self, conn: Connection, lost: int, status: int) -> None:
        """A connection has ended; `on_close` follows, whatever becomes of this."""
        self.ended += 1
        conn._fd = -1
        self.buffered -= conn._counted
        conn._counted = 0
        if self.again:
            self.again.pop(conn, None)
        self._cancel_timer(conn)
        if conn._deadlines is not None:
            conn._deadlines.cancel()
            conn._deadlines = None  # which refers to the connection
        if lost and status and conn._error is None:
            conn._error = network_error(-status, f": {lost} bytes were not sent")

    @staticmethod
    def _let_loose(conn: Connection) -> None:
        """Nothing that a closed connection refers to may refer to it."""
        conn._on_closed = None
        if conn._error is not None:
            release_frames(conn._error)

    @staticmethod
    def _cancel_timer(conn: Connection) -> None:
        if conn._timer is not None:
            conn._timer.cancel()
            conn._timer = None

    # The engine's stop

    def stop(self, timeout: float) -> None:
        """Accept no more, have every connection drained, then end the loop. gnet: Stop.

        What is still open after `timeout` seconds is closed at once; called again with 0, now.
        """
        first, self._stopping = not self._stopping, True
        if first:
            self.callbacks.guard(self._acceptor.close, GRACEFUL)
            self.callbacks.guard(self._give_up_dials)
            for conn in list(self.connections.values()):
                self.callbacks.guard(self.drain, conn)
                self.callbacks.guard(self._linger_less, conn)
            self.callbacks.guard(self.endpoints.close, GRACEFUL)
        if timeout <= 0:
            self._close_all_now()
        elif monotonic() + timeout < self._over_at:  # however often it is asked for
            self._over_at = monotonic() + timeout
            Countdown(self._reactor, timeout, self._close_all_now)

    @property
    def is_stopping(self) -> bool:
        """Whether the engine drains: it accepts no more, and ends what is there."""
        return self._stopping

    def drain(self, conn: Connection) -> None:
        """Tell the handler that the engine stops."""
        if conn._owner:
            self.callbacks.call(conn, conn._origin.handler.on_drain, "on_drain")

    def _linger_less(self, conn: Connection) -> None:
        """It may have begun to linger before the engine was stopped."""
        if isinstance(conn._timer, Linger):
            self._cancel_timer(conn)
            self._linger(conn, min(self.options.linger_timeout, STOP_LINGER))

    def close_all(self, origin: Origin) -> None:
        """Close the connections of an origin after what was written is sent, and end its dials."""
        for dial in list(self.dialing):
            if dial.origin is origin:
                self.callbacks.guard(dial.give_up, "the client has stopped")
        for conn in list(self.connections.values()):
            if conn._origin is origin:
                self.callbacks.guard(conn._finish, None)

    def _give_up_dials(self) -> None:
        for dial in list(self.dialing):
            self.callbacks.guard(
                dial.give_up, "the engine is stopping: it takes no more connections"
            )

    def _close_all_now(self) -> None:
        self._is_over = True
        self.callbacks.guard(self._acceptor.close, NOW)
        for conn in self.connections.values():
            self.callbacks.guard(conn._end, NOW, None)
        self.callbacks.guard(self.endpoints.close, NOW)

    def _abandon(self, failure: BaseException | None) -> None:
        """Tell the connections that are left when the backend has failed."""
        error = None if isinstance(failure, EXITS) else failure  # which is none of theirs
        self.callbacks.guard(self._give_up_dials)
        for handle, conn in list(self.connections.items()):
            conn._owner = 0
            conn._error = error if conn._error is None else conn._error
            self.callbacks.guard(conn._forget_inbound)
            self.callbacks.guard(self._on_closed, handle, 0, 0)
        self.callbacks.guard(self.endpoints.abandon)
