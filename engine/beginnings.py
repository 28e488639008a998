"""How connections of a reactor begin: accepted, taken over, or dialed.

The law of this file: whoever hands in a descriptor is rid of it. It becomes a connection's, or is
closed, also where there is no memory for one.
"""

from __future__ import annotations

import errno
import socket
from typing import TYPE_CHECKING, Any

from .connection import Connection
from .deadlines import Deadlines
from .endpoint import Endpoint
from .errors import ConnectionClosed
from .packets import PacketConnection
from .sockopts import borrowed, close_descriptor, close_socket, prepare_socket

if TYPE_CHECKING:
    from collections.abc import Callable

    from .acceptor import Acceptor
    from .backend import Backend
    from .callbacks import Callbacks
    from .endpoints import Endpoints
    from .handles import Handles
    from .logs import Seldom
    from .options import Options
    from .origin import Origin


class Beginnings:
    """The part of a reactor that makes connections, on its thread."""

    if TYPE_CHECKING:  # what Reactor has
        callbacks: Callbacks
        break_off: Callable[[Connection, BaseException], None]
        backend: Backend
        begun: int
        connections: dict[int, Connection]
        ended: int
        endpoints: Endpoints
        _acceptor: Acceptor
        _handles: Handles
        _has_limits: bool
        _is_over: bool
        _stopping: bool

        options: Options
        seldom: Seldom

        def drain(self, conn: Connection) -> None: ...
        @property
        def _reactor(self) -> Any: ...

    def open(self, fd: int, origin: Origin) -> None:
        """Make a connection of an accepted descriptor, which is the reactor's from now on."""
        try:
            if origin.prepares_each:
                self._prepare_accepted(fd)
            conn = (self._own_stream if origin.is_stream else self._own_packets)(fd, origin)
        except BaseException as error:
            conn = None
            self.callbacks.failed("%r: a newcomer was closed", self, error=error)
        if conn is None:
            close_descriptor(fd)
            self.ended += 1
        else:
            self.welcome(conn)

    def own(self, sock: socket.socket, origin: Origin) -> Connection:
        """Make a connection of a connected socket of any kind; `welcome` is still to come.

        Raises ConnectionClosed, and OSError where no more handles are free.
        """
        if self._stopping:
            close_socket(sock)
            raise ConnectionClosed("the engine is stopping: it takes no more connections")
        own = self._own_stream if sock.type == socket.SOCK_STREAM else self._own_packets
        fd = sock.detach()
        try:
            conn = own(fd, origin)
        except BaseException:
            close_descriptor(fd)
            raise
        if conn is not None:
            self.begun += 1
            return conn
        close_descriptor(fd)
        raise OSError(errno.EMFILE, "the reactor has max_connections already")

    def connected(self, handle: int, fd: int, origin: Origin) -> Connection:
        """Make a connection of a handle that has connected."""
        conn = Connection(self._reactor, handle, fd, origin)
        self.connections[handle] = conn
        self.begun += 1
        return conn

    def welcome(self, conn: Connection) -> None:
        """Tell the handler of a new connection."""
        try:
            if conn._origin.knows_peers:
                _ = conn.remote_address
            if self._has_limits:
                conn._deadlines = Deadlines(conn)
                conn._deadlines.begin(self._reactor)
        except BaseException as error:
            self.break_off(conn, error)
        self.callbacks.on_open(conn)
        if self._stopping:
            self.drain(conn)

    def _prepare_accepted(self, fd: int) -> None:
        """Set the options that a newcomer has not inherited."""
        try:
            with borrowed(fd) as sock:
                prepare_socket(sock, self.options)
        except OSError as error:
            self.seldom.say("an option was not set on a newcomer: %s", error)

    def _own_stream(self, fd: int, origin: Origin) -> Connection | None:
        handle = None if self._is_over else self._handles.take()
        if handle is None:
            return None
        try:
            conn = Connection(self._reactor, handle, fd, origin)
            self.connections[handle] = conn
            self.backend.adopt(handle, fd)
        except BaseException:
            self._disown(handle)
            raise
        return conn

    def _own_packets(self, fd: int, origin: Origin) -> Connection | None:
        handle = None if self._is_over else self._handles.take()
        if handle is None:
            return None
        sock = socket.socket(fileno=fd)
        try:
            conn = PacketConnection(Endpoint(self._reactor, handle, sock, origin))
            self.connections[handle] = conn
            self.backend.adopt_packets(handle, conn._fd)
        except BaseException:
            sock.detach()  # it stays the caller's
            self._disown(handle)
            raise
        return conn

    def _disown(self, handle: int) -> None:
        """The backend never heard of the connection that was to have the handle."""
        self.connections.pop(handle, None)
        self._handles.give_back(handle)

    def listen(self, fd: int, origin: Origin) -> None:
        """Serve a listening or bound descriptor, which is the reactor's from now on."""
        assert origin.listener is not None
        if self._stopping:
            close_descriptor(fd)
            return
        serving = self.endpoints if origin.listener.parsed.is_datagram else self._acceptor
        try:
            serving.listen(fd, origin)
        except BaseException:
            close_descriptor(fd)
            raise
