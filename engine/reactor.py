"""A reactor: one thread, one backend, and the connections that belong to both.

The law of this file: everything here runs on the reactor's own thread, except `post` (and what
stands on it) and the few calls that start and stop it. The loop makes one turn after another:
wait for events, give each to its connection, run what is due.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any

from ..completion import (
    ACCEPTED,
    CLOSED,
    CONNECTED,
    DATA,
    DATAGRAM,
    DRAINED,
    EOF,
    ERROR,
    GRACEFUL,
    INDEX_MASK,
    NOW,
    REFUSED,
    SHUT,
    STALLED,
    TRUNCATED,
    WOKEN,
)
from .acceptor import Acceptor
from .callbacks import Callbacks
from .connection import Connection
from .errors import ConnectionClosed
from .eventloop import EventLoop
from .handler import check_action
from .handles import Handles
from .logs import Seldom
from .packets import Endpoint, Endpoints, PacketConnection
from .timers import Timer, Timers

if TYPE_CHECKING:
    from .backend import Backend, Memory
    from .dial import Dial
    from .origin import Origin
    from .server import Engine

STOP_LINGER = 0.05  # seconds for a peer to end its side when the engine stops


class Reactor(EventLoop, Callbacks):
    """An event loop of the engine; `conn.loop` is the one of a connection. gnet: EventLoop."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine = engine
        self.number = number
        self.options = engine.options
        self.log = engine.log
        self.seldom = Seldom(engine.log)
        self.ident = 0
        self.ready: Future[None] = Future()  # done once the loop runs, or could not be made
        # Connections so far: each counter has one thread that writes it.
        self.given = 0  # by an acceptor
        self.begun = 0  # by this reactor: dialed and enrolled
        self.ended = 0  # that are closed again
        self.connections: dict[int, Connection] = {}
        self.dials: dict[int, Dial] = {}  # by the handle of each attempt
        self.dialing: set[Dial] = set()  # that have not ended
        self.backend: Backend
        self.memory: Memory
        self._handles: Handles
        self._timers = Timers(self)
        self._acceptor = Acceptor(self)
        self.endpoints = Endpoints(self)
        self._foreign: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._foreign_lock = Lock()
        self._is_woken_later = False
        self._accepts_calls = True
        self._stopping = False
        self._dispatch: dict[int, Callable[[int, int, int], None]] = {
            EOF: self._on_eof,
            ERROR: self._on_error,
            ACCEPTED: self._acceptor.on_accepted,
            STALLED: self._acceptor.on_stalled,
            DRAINED: self._on_drained,
            SHUT: self._on_shut,
            CLOSED: self._on_closed,
            WOKEN: self._on_woken,
            CONNECTED: self._on_connected,
            DATAGRAM: self.endpoints.on_datagram,
            TRUNCATED: self.endpoints.on_truncated,
            REFUSED: self.endpoints.on_refused,
        }
        # A daemon, so that a program that forgets to stop its engine can still end.
        self.thread = Thread(target=self._main, name=f"ringnet-{number}", daemon=True)

    def __repr__(self) -> str:
        return f"<ringnet.Reactor {self.number} connections={len(self.connections)}>"

    # What the engine's other parts use, on the loop's thread

    def sent(self, handle: int) -> int:
        """Bytes of a connection that the kernel has taken so far."""
        return self.backend.sent[handle & INDEX_MASK]

    def take_handle(self) -> int | None:
        """A handle for a new operation, or None when all are in use."""
        return self._handles.take()

    def give_back_handle(self, handle: int) -> None:
        """A handle that was taken and never used, or whose final event was seen."""
        self._handles.give_back(handle)

    def add_timer(self, delay: float, call: Callable[[], object]) -> Timer:
        """`schedule` for calls of the engine itself, whose exceptions are bugs."""
        return self._timers.add(delay, call)

    def open(self, fd: int, origin: Origin) -> None:
        """Make a connection of an accepted descriptor, which is the reactor's from now on."""
        listener = origin.listener
        if listener is not None and not listener.parsed.is_stream:
            conn = self._own_packets(fd, origin)
        else:
            conn = self._own_stream(fd, origin)
        if conn is None:
            os.close(fd)
            self.ended += 1
        else:
            self.welcome(conn)

    def own(self, sock: socket.socket, origin: Origin) -> Connection:
        """Make a connection of a connected socket of any kind; `welcome` is still to come.

        Raises ConnectionClosed, and OSError where no more handles are free.
        """
        own = self._own_stream if sock.type == socket.SOCK_STREAM else self._own_packets
        fd = sock.detach()
        conn = own(fd, origin)
        if conn is not None:
            self.begun += 1
            return conn
        os.close(fd)
        if self._stopping:
            raise ConnectionClosed("the engine is stopping: it takes no more connections")
        raise OSError(errno.EMFILE, "the reactor has max_connections already")

    def connected(self, handle: int, fd: int, origin: Origin) -> Connection:
        """Make a connection of a handle that has connected."""
        self.begun += 1
        conn = Connection(self, handle, fd, origin)
        self.connections[handle] = conn
        return conn

    def welcome(self, conn: Connection) -> None:
        """Tell the handler of a new connection."""
        if conn._origin.knows_peers:
            _ = conn.remote_address
        self._call_on_open(conn)

    def _own_stream(self, fd: int, origin: Origin) -> Connection | None:
        handle = None if self._stopping else self._handles.take()
        if handle is None:
            return None
        conn = Connection(self, handle, fd, origin)
        self.connections[handle] = conn
        self.backend.adopt(handle, fd)
        return conn

    def _own_packets(self, fd: int, origin: Origin) -> Connection | None:
        handle = None if self._stopping else self._handles.take()
        if handle is None:
            return None
        conn = PacketConnection(Endpoint(self, handle, socket.socket(fileno=fd), origin))
        self.connections[handle] = conn
        self.backend.adopt_packets(handle, conn._fd)
        return conn

    def watch_close(self, conn: Connection) -> None:
        """Bound the time a closing connection has to send what it owes."""
        timeout = self.options.close_timeout
        conn._timer = self._timers.add(timeout, partial(self._close_timed_out, conn))

    def listen(self, fd: int, origin: Origin) -> None:
        """Serve a listening or bound descriptor, which is the reactor's from now on."""
        assert origin.listener is not None
        if origin.listener.parsed.is_datagram:
            self.endpoints.listen(fd, origin)
        else:
            self._acceptor.listen(fd, origin)

    def close_all(self, origin: Origin | None = None) -> None:
        """Close every connection, or those of an origin, after what was written is sent."""
        for conn in list(self.connections.values()):
            if origin is None or conn._origin is origin:
                conn._finish(None)

    def stop(self, timeout: float) -> None:
        """Accept no more, end every connection, then end the loop. gnet: Stop.

        What is still open after `timeout` seconds is closed at once; called again with 0, now.
        """
        first, self._stopping = not self._stopping, True
        if first:
            self._acceptor.close()
            self._give_up_dials()
            self.close_all()
            self.endpoints.close(GRACEFUL)
        if timeout > 0:
            self._timers.add(timeout, self._close_all_now)
        else:
            self._close_all_now()

    @property
    def is_stopping(self) -> bool:
        """Whether no connection may begin any more."""
        return self._stopping

    def _give_up_dials(self) -> None:
        for dial in list(self.dialing):
            dial.give_up()

    # The loop

    def _main(self) -> None:
        self._be_current()
        try:
            self._pin()
            self.backend = self.engine.make_backend()
        except BaseException as error:
            self.ready.set_exception(error)
            return
        self.memory = self.backend.memory
        self._handles = Handles(self.backend.capacity)
        self.ready.set_result(None)
        failure: BaseException | None = None
        try:
            self._loop()
        except BaseException as error:
            self.log.critical("%r has failed", self, exc_info=True)
            failure = error
        self._end(failure)

    def _pin(self) -> None:
        """Keep this thread on its CPU, where the option says so."""
        cpus = self.options.cpus
        if not cpus:
            return
        cpu = cpus[self.number % len(cpus)]
        try:
            os.sched_setaffinity(0, {cpu})  # of the calling thread
        except (OSError, AttributeError) as error:
            number = getattr(error, "errno", errno.ENOSYS)
            raise OSError(number, f"cpus: reactor {self.number} cannot run on {cpu}") from error

    def _loop(self) -> None:
        turn = self.backend.turn
        connections = self.connections
        dispatch = self._dispatch
        timers = self._timers
        heap = timers.heap
        while not (self._stopping and self._is_done()):
            for handle, kind, a, b in turn(timers.timeout() if heap else None):
                if kind != DATA:
                    dispatch[kind](handle, a, b)
                    continue
                conn = connections[handle]
                if conn._inbound is None:
                    conn._offset = a
                    conn._length = b
                elif conn._owner == 0:
                    continue
                else:
                    conn._append(a, b)
                try:
                    action = conn._origin.on_traffic(conn)
                    if action is not None:
                        self._act(conn, check_action(action, "on_traffic"))
                except Exception as error:
                    self._handler_failed(conn, "on_traffic", error)
                if conn._length:
                    conn._keep_leftover()
            if heap:
                for call in timers.due():
                    call()

    def _is_done(self) -> bool:
        return not (self.connections or self._acceptor.is_open or self.endpoints.is_open)

    def _end(self, failure: BaseException | None) -> None:
        with self._foreign_lock:
            self._accepts_calls = False
            late, self._foreign = self._foreign, []
        for call, arguments in late:
            self.guard(call, *arguments)
        self._abandon(failure)
        self.backend.dispose()
        self.engine.reactor_ended(self, failure)

    def _abandon(self, failure: BaseException | None) -> None:
        """Tell the connections that are left when the backend has failed."""
        error = failure if isinstance(failure, Exception) else None
        self._give_up_dials()
        for handle, conn in list(self.connections.items()):
            conn._owner = 0
            conn._error = conn._error or error
            self._on_closed(handle, 0, 0)

    # Events

    def _on_eof(self, handle: int, a: int, b: int) -> None:
        conn = self.connections[handle]
        conn._peer_ended = True
        conn._finish(None)

    def _on_error(self, handle: int, a: int, b: int) -> None:
        conn = self.connections.get(handle)
        if conn is None:
            self._broken(handle, a)
        elif conn._owner:
            conn._fail(OSError(-a, os.strerror(-a)))

    def _broken(self, handle: int, result: int) -> None:
        """Something that is no connection."""
        dial = self.dials.get(handle)
        if dial is not None:
            dial.on_error(handle, result)
        elif not self.endpoints.on_error(handle, result):
            self._acceptor.on_error(handle, result)

    def _on_connected(self, handle: int, a: int, b: int) -> None:
        self.dials[handle].on_connected(handle)

    def _on_drained(self, handle: int, a: int, b: int) -> None:
        self.connections[handle]._pump()

    def _on_shut(self, handle: int, a: int, b: int) -> None:
        """All is sent and our side is ended: the peer gets a while to end its own."""
        conn = self.connections[handle]
        self._cancel_timer(conn)
        linger = self.options.linger_timeout
        if self._stopping:
            linger = min(linger, STOP_LINGER)
        close = partial(self.backend.close, handle, NOW)
        conn._timer = self._timers.add(linger, close)

    def _on_closed(self, handle: int, lost: int, status: int) -> None:
        self._handles.give_back(handle)
        conn = self.connections.pop(handle, None)
        if conn is None:
            if self.dials.pop(handle, None) is None and not self.endpoints.on_closed(handle):
                self._acceptor.on_closed(handle)
            return
        self.ended += 1
        self._cancel_timer(conn)
        conn._fd = -1
        if lost and status and conn._error is None:
            conn._error = OSError(-status, f"{os.strerror(-status)}: {lost} bytes were not sent")
        self._call_on_close(conn)

    def _on_woken(self, handle: int, a: int, b: int) -> None:
        with self._foreign_lock:
            calls, self._foreign = self._foreign, []
            self._is_woken_later = False
        for call, arguments in calls:
            call(*arguments)

    def _cancel_timer(self, conn: Connection) -> None:
        if conn._timer is not None:
            conn._timer.cancel()
            conn._timer = None

    # Time limits of the ends

    def _close_timed_out(self, conn: Connection) -> None:
        conn._timer = None
        if conn._error is None and conn.outbound_buffered:
            conn._error = TimeoutError(
                errno.ETIMEDOUT,
                f"{conn.outbound_buffered} bytes could not be sent in close_timeout="
                f"{self.options.close_timeout} s",
            )
        conn._end(NOW, None)

    def _close_all_now(self) -> None:
        for handle in self.connections:
            self.backend.close(handle, NOW)
        self.endpoints.close(NOW)
