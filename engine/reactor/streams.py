"""The connections of a reactor: how they begin, and how they end.

The laws of this file: a caller that passes in a descriptor no longer owns it. It becomes a
connection's, or is closed, even if memory is short. Each connection gets `on_close` exactly once,
after its descriptor is closed, and everything that waits for a peer has a time limit.
"""

from __future__ import annotations

import errno
import socket
from functools import partial
from typing import TYPE_CHECKING, Protocol

from ...completion import NOW, retried
from ..base.errors import NO_MORE, ConnectionClosed, network_error, release_frames
from ..base.sockets import borrowed, close_descriptor, close_socket, prepare_socket
from ..connection.connection import Connection
from ..connection.deadlines import Countdown, Deadlines
from ..connection.endpoint import Endpoint
from ..connection.owner import Owner
from ..connection.packets import PacketConnection
from ..connection.stream import END_DUE, PEER_ENDED, SHUT
from .free_handles import HasHandles

if TYPE_CHECKING:
    from ..connection.origin import Origin
    from .callbacks import Callbacks
    from .host import Host

STOP_LINGER = 0.05  # seconds for a peer to end its side when the engine stops


class Linger(Countdown):
    """The time that a peer has to end its side after we have ended ours."""

    __slots__ = ()


class Stops(Protocol):
    """The part of a reactor that stops it."""

    is_over: bool  # no connection may be left


class StreamsLoop(Owner, HasHandles, Protocol):
    """A reactor, as the beginning and end of its connections see it."""

    callbacks: Callbacks
    again: dict[Connection, None]
    connections: dict[int, Connection]
    begun: int
    ended: int

    @property
    def engine(self) -> Host: ...
    @property
    def is_stopping(self) -> bool: ...
    @property
    def stopping(self) -> Stops: ...
    def break_off(self, conn: Connection, error: BaseException) -> None: ...
    def closed(self, handle: int, lost: int, status: int) -> None: ...


class Streams:
    """On the reactor's thread."""

    def __init__(self, loop: StreamsLoop) -> None:
        self._loop = loop
        self._has_limits = loop.options.has_time_limits

    # How they begin

    def open(self, fd: int, origin: Origin) -> None:
        """Make an accepted descriptor a connection; the reactor owns it from now on."""
        try:
            if origin.prepares_each:
                self._prepare_accepted(fd)
            conn = (self._own_stream if origin.is_stream else self._own_packets)(fd, origin)
        except BaseException as error:
            conn = None
            self._loop.callbacks.failed("%r: a new connection was closed", self._loop, error=error)
        if conn is None:
            close_descriptor(fd)
            self._loop.ended += 1
        else:
            self.welcome(conn)

    def own(self, sock: socket.socket, origin: Origin) -> Connection:
        """Make a connected socket of any kind a connection; the caller then calls `welcome`.

        Raises ConnectionClosed, and OSError if no handle is free.
        """
        if self._loop.is_stopping:
            close_socket(sock)
            raise ConnectionClosed(NO_MORE)
        own = self._own_stream if sock.type == socket.SOCK_STREAM else self._own_packets
        self._loop.begun += 1  # first: as soon as it is in the table it also ends
        fd = -1
        try:
            fd = sock.detach()
            conn = own(fd, origin)
            if conn is None:
                raise OSError(errno.EMFILE, "the reactor has max_connections already")
        except BaseException:
            self._loop.begun -= 1
            if fd >= 0:
                close_descriptor(fd)
            sock.close()
            raise
        return conn

    @staticmethod
    def handle_of(conn: Connection) -> int:
        """The handle of a connection."""
        return conn._handle

    def connected(self, handle: int, fd: int, origin: Origin) -> Connection:
        """Make a handle that has connected a connection."""
        self._loop.begun += 1  # first: as soon as it is in the table it also ends
        try:
            conn = Connection(self._loop, handle, fd, origin)
            self._loop.connections[handle] = conn
        except BaseException:
            self._loop.connections.pop(handle, None)
            self._loop.begun -= 1
            raise
        return conn

    def welcome(self, conn: Connection) -> None:
        """Call `on_open` for a new connection."""
        try:
            if conn._origin.knows_peers:
                _ = conn.remote_address
            if self._has_limits:
                conn._deadlines = Deadlines(conn)
                conn._deadlines.begin(self._loop)
        except BaseException as error:
            self._loop.break_off(conn, error)
        self._loop.callbacks.on_open(conn)
        if self._loop.is_stopping:
            self.drain(conn)

    def _prepare_accepted(self, fd: int) -> None:
        """Set the options that an accepted socket does not inherit."""
        try:
            with borrowed(fd) as sock:
                prepare_socket(sock, self._loop.options)
        except OSError as error:
            self._loop.throttled.warning(
                "a socket option was not set on a new connection: %s", error
            )

    def _own_stream(self, fd: int, origin: Origin) -> Connection | None:
        handle = None if self._loop.stopping.is_over else self._loop.take_handle()
        if handle is None:
            return None
        try:
            conn = Connection(self._loop, handle, fd, origin)
            self._loop.connections[handle] = conn
            self._loop.backend.adopt(handle, fd)
        except BaseException:
            self._disown(handle)
            raise
        return conn

    def _own_packets(self, fd: int, origin: Origin) -> Connection | None:
        handle = None if self._loop.stopping.is_over else self._loop.take_handle()
        if handle is None:
            return None
        sock: socket.socket | None = None
        try:
            sock = socket.socket(fileno=fd)
            conn = PacketConnection(Endpoint(self._loop, handle, sock, origin))
            self._loop.connections[handle] = conn
            self._loop.backend.adopt_packets(handle, conn._fd)
        except BaseException:
            if sock is not None:
                sock.detach()  # the caller closes it
            self._disown(handle)
            raise
        return conn

    def _disown(self, handle: int) -> None:
        """Release the handle of a connection that the backend never got."""
        self._loop.connections.pop(handle, None)
        self._loop.give_back_handle(handle)

    # The peer's end, and the network's failures

    def on_eof(self, handle: int, a: int, b: int) -> None:
        """The peer has ended its side."""
        conn = self._loop.connections[handle]
        conn._marks |= PEER_ENDED
        if conn._paused or conn in self._loop.again:
            conn._marks |= END_DUE  # after the bytes that the handler has not seen yet
        else:
            self.call_on_end(conn)

    def call_on_end(self, conn: Connection) -> None:
        """Call `on_end`: the peer has ended its side."""
        conn._marks &= ~END_DUE
        if conn._owner:
            self._loop.callbacks.call(conn, conn._origin.handler.on_end, "on_end")
        if conn._owner and conn._marks & SHUT:
            conn._finish(None)

    @staticmethod
    def on_error(conn: Connection, result: int) -> None:
        """The stream is broken."""
        if conn._owner or conn._overflow is not None:  # or a graceful close still has overflow
            conn._fail(network_error(-result))

    def on_packet(self, handle: int, at: int, size: int) -> None:
        """A packet has arrived."""
        conn = self._loop.connections[handle]
        if conn._owner:
            conn._offset = at
            conn._length = size
            self._loop.traffic(conn)
            conn._length = 0

    # Our end

    @staticmethod
    def cut(conn: Connection, error: BaseException | None = None) -> None:
        """Close at once, with an error if there is one."""
        conn._end(NOW, error)

    def abandon(self, conn: Connection, error: BaseException | None) -> None:
        """End a connection without the backend, which has failed and reports nothing more."""
        handle, conn._owner = conn._handle, 0
        if conn._error is None:
            conn._error = error
        self._loop.callbacks.guard(conn._forget_inbound)
        self._loop.callbacks.guard(self._loop.closed, handle, 0, 0)

    def close_of_origin(self, origin: Origin) -> None:
        """Close the connections of a client that has stopped."""
        for conn in retried(list, self._loop.connections.values()):
            if conn._origin is origin:
                self._loop.callbacks.guard(conn._finish, None)

    def watch_close(self, conn: Connection) -> None:
        """Limit the time that a closing connection has to send its remaining bytes."""
        timeout = self._loop.options.close_timeout
        conn._timer = Countdown(self._loop, timeout, partial(self._close_timed_out, conn))

    def _close_timed_out(self, conn: Connection) -> None:
        conn._timer = None
        if conn._error is None and conn.outbound_buffered:
            conn._error = TimeoutError(
                errno.ETIMEDOUT,
                f"{conn.outbound_buffered} bytes could not be sent in close_timeout="
                f"{self._loop.options.close_timeout} s",
            )
        conn._end(NOW, None)

    def on_shut(self, handle: int, a: int, b: int) -> None:
        """Everything is sent and our side is ended: the peer has some time to end its own."""
        conn = self._loop.connections[handle]
        if conn._owner:
            return  # it was shutdown_write: reading continues
        conn._count_outbound(0)
        self._cancel_timer(conn)
        seconds = self._loop.options.linger_timeout
        self._linger(conn, min(seconds, STOP_LINGER) if self._loop.is_stopping else seconds)

    def _linger(self, conn: Connection, seconds: float) -> None:
        close = partial(self._loop.backend.close, conn._handle, NOW)
        conn._timer = Linger(self._loop, seconds, close)

    def on_closed(self, conn: Connection, lost: int, status: int) -> None:
        """The final event of a connection: the backend has nothing of it any more."""
        callbacks, budget = self._loop.callbacks, self._loop.engine.budget
        callbacks.guard(self._tidy_up, conn, lost, status)
        callbacks.on_close(conn)
        callbacks.guard(self._release, conn)
        if budget.is_resting:
            budget.connection_ended()

    def _tidy_up(self, conn: Connection, lost: int, status: int) -> None:
        """Clean up after a connection; `on_close` follows even if this fails."""
        self._loop.ended += 1
        conn._fd = -1
        self._loop.buffered -= conn._counted
        conn._counted = 0
        if self._loop.again:
            self._loop.again.pop(conn, None)
        self._cancel_timer(conn)
        if conn._deadlines is not None:
            conn._deadlines.cancel()
            conn._deadlines = None  # which refers to the connection
        if lost and status and conn._error is None:
            conn._error = network_error(-status, f": {lost} bytes were not sent")

    @staticmethod
    def _release(conn: Connection) -> None:
        """Break reference cycles: nothing that a closed connection refers to may refer to it."""
        conn._on_closed = None
        if conn._error is not None:
            release_frames(conn._error)

    @staticmethod
    def _cancel_timer(conn: Connection) -> None:
        if conn._timer is not None:
            conn._timer.cancel()
            conn._timer = None

    # The engine's stop

    def drain(self, conn: Connection) -> None:
        """Call `on_drain`: the engine stops."""
        if conn._owner:
            self._loop.callbacks.call(conn, conn._origin.handler.on_drain, "on_drain")

    def shorten_linger(self, conn: Connection) -> None:
        """Shorten the linger time of a connection that began to linger before the stop."""
        if isinstance(conn._timer, Linger):
            self._cancel_timer(conn)
            self._linger(conn, min(self._loop.options.linger_timeout, STOP_LINGER))
