"""Enrolling: taking over connected sockets from the program.

The law of this file: a socket that cannot be taken over is refused at the call, and remains the
caller's.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import weakref
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from ..base.errors import (
    ConnectionClosed,
    EngineStateError,
    EngineStopped,
    for_future,
    is_plain,
    shown,
)
from ..base.sockets import borrowed, close_socket, listens, prepare_socket
from ..connection.owner import Owner
from .mailbox import Mailbox

if TYPE_CHECKING:
    from ..connection.connection import Connection
    from ..connection.origin import Origin
    from .streams import Streams


class EnrollingLoop(Owner, Protocol):
    """A reactor, as dials and enrolled sockets see it."""

    connections: dict[int, Connection]
    mailbox: Mailbox

    @property
    def streams(self) -> Streams: ...


_UNIX = getattr(socket, "AF_UNIX", -1)
_PACKETS = getattr(socket, "SOCK_SEQPACKET", -1)
_STREAMS_AND_DATAGRAMS = (socket.SOCK_STREAM, socket.SOCK_DGRAM)
_TYPES = {
    socket.AF_INET: _STREAMS_AND_DATAGRAMS,
    socket.AF_INET6: _STREAMS_AND_DATAGRAMS,
    _UNIX: (*_STREAMS_AND_DATAGRAMS, _PACKETS),
}


def check_socket(sock: socket.socket) -> None:
    """Raise TypeError unless it is a plain socket, and OSError if it cannot be enrolled."""
    if not isinstance(sock, socket.SocketType):
        raise TypeError(f"enroll takes a connected socket.socket, not {shown(sock)}")
    if sock.fileno() < 0:
        raise OSError(errno.EBADF, "the socket is closed or detached")
    ssl = sys.modules.get("ssl")
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise TypeError(
            "an SSLSocket cannot be enrolled, since its bare descriptor does not encrypt: "
            "end TLS with sock.unwrap() and enroll the socket that it returns"
        )
    with borrowed(sock.fileno()) as real:  # the family and type in the object may be wrong
        if real.type not in _TYPES.get(real.family, ()):
            raise OSError(
                errno.EAFNOSUPPORT, f"enroll takes TCP, UDP and Unix sockets, not {shown(sock)}"
            )
        if listens(real):
            raise OSError(
                errno.ENOTCONN,
                "the socket is a listening one: serve it with the address fd://N",
            )
        try:
            real.getpeername()
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            raise OSError(errno.ENOTCONN, "the socket is not connected: connect it first") from None
    if _Place.is_taken(sock.fileno()):
        raise OSError(errno.EBUSY, f"descriptor {sock.fileno()} is enrolled already")


class _Place:
    """Where a descriptor went. The last place of each is kept, so that a second socket object with
    the same descriptor is not enrolled as well."""

    _latest: dict[int, _Place] = {}  # by descriptor, which bounds its size  # noqa: RUF012

    def __init__(self, loop: EnrollingLoop, sock: socket.socket) -> None:
        self._loop = weakref.ref(loop)
        self._sock = weakref.ref(sock)  # which has the descriptor while it is on its way
        self._inode = _inode(sock.fileno())  # the number may be another socket's soon
        self.handle: int | None = None  # of the connection
        self._latest[sock.fileno()] = self

    @classmethod
    def is_taken(cls, fd: int) -> bool:
        """Whether an engine has enrolled the descriptor. From any thread."""
        place = cls._latest.get(fd)
        loop = None if place is None else place._loop()
        if place is None or loop is None or loop.engine.is_forked:
            return False
        conn = loop.connections.get(-1 if place.handle is None else place.handle)
        sock = place._sock()
        is_on_its_way = sock is not None and sock.fileno() == fd
        # A connection has its number until the loop learns that the backend has closed it.
        is_its = conn is not None and conn.fileno() == fd and place._inode == _inode(fd)
        return is_on_its_way or is_its


def _inode(fd: int) -> int:
    """Which socket a descriptor is; 0 where the system does not tell."""
    try:
        return os.fstat(fd).st_ino
    except OSError:
        return 0


def enroll(
    loop: EnrollingLoop, origin: Origin, sock: socket.socket, context: Any
) -> Future[Connection]:
    """Take over a socket that was checked. From any thread; raises what `post` raises."""
    future: Future[Connection] = Future()
    future.set_running_or_notify_cancel()

    def take() -> tuple[Any, ...]:
        own = socket.socket(fileno=sock.detach())
        return loop, origin, own, context, future, _Place(loop, own)

    try:
        loop.mailbox.post_made(_enroll, take)
    except (ConnectionClosed, EngineStateError):  # the loop is over
        close_socket(sock)
        raise
    return future


def _enroll(
    loop: EnrollingLoop,
    origin: Origin,
    sock: socket.socket,
    context: Any,
    future: Future[Connection],
    place: _Place,
) -> None:
    """On the loop."""
    try:
        if origin.is_over:
            raise EngineStopped("the client has stopped")
        prepare_socket(sock, loop.options)
        conn = loop.streams.own(sock, origin)
        place.handle = loop.streams.handle_of(conn)
    except BaseException as error:
        close_socket(sock)
        _fail(loop, future, error)
    else:
        introduce(loop, conn, context, future)


def introduce(
    loop: EnrollingLoop, conn: Connection, context: Any, future: Future[Connection]
) -> None:
    """Call `on_open` for a connection that the program has requested, then set its future."""
    conn.context = context
    try:
        loop.streams.welcome(conn)
    except BaseException as error:
        loop.streams.cut(conn, error)
        _fail(loop, future, error)
    else:
        loop.guard(future.set_result, conn)


def _fail(loop: EnrollingLoop, future: Future[Connection], error: BaseException) -> None:
    error.__traceback__ = None  # whose frames refer to the future
    loop.guard(future.set_exception, for_future(error))
    if not is_plain(error):
        raise error  # an interrupt, which the loop handles
