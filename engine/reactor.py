"""A reactor: one thread, one backend, and the connections that belong to both.

The law of this file: everything here runs on the reactor's own thread, except `post` (and what
stands on it) and the few calls that start and stop it. The loop makes one turn after another:
wait for events, give each to its connection, run what is due.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Lock, Thread, get_ident
from typing import TYPE_CHECKING, Any

from ..completion import (
    ACCEPTED,
    CLOSED,
    DATA,
    DRAINED,
    EOF,
    ERROR,
    INDEX_MASK,
    NOW,
    SHUT,
    STALLED,
    WOKEN,
)
from .acceptor import Acceptor
from .connection import Connection
from .errors import ConnectionClosed, QueueFull
from .handler import Action, check_action, split_reply
from .handles import Handles
from .timers import Timer, Timers

if TYPE_CHECKING:
    from .backend import Backend, Memory
    from .server import Engine

STOP_LINGER = 0.05  # seconds for a peer to end its side when the engine stops


class Reactor:
    """An event loop of the engine; `conn.loop` is the one of a connection."""

    def __init__(self, engine: Engine, number: int) -> None:
        self.engine = engine
        self.number = number
        self.options = engine.options
        self.log = engine.log
        self.ident = 0
        self.ready: Future[None] = Future()  # done once the loop runs, or could not be made
        self.ended = 0  # connections that were closed so far
        self.connections: dict[int, Connection] = {}
        self.backend: Backend
        self.memory: Memory
        self._handles: Handles
        self._timers = Timers()
        self._acceptor = Acceptor(self)
        self._foreign: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._foreign_lock = Lock()
        self._accepts_calls = True
        self._stopping = False
        self._knows_peers = engine.handler_has("on_close")
        self._dispatch: dict[int, Callable[[int, int, int], None]] = {
            EOF: self._on_eof,
            ERROR: self._on_error,
            ACCEPTED: self._acceptor.on_accepted,
            STALLED: self._acceptor.on_stalled,
            DRAINED: self._on_drained,
            SHUT: self._on_shut,
            CLOSED: self._on_closed,
            WOKEN: self._on_woken,
        }
        # A daemon, so that a program that forgets to stop its engine can still end.
        self.thread = Thread(target=self._main, name=f"ringnet-{number}", daemon=True)

    def __repr__(self) -> str:
        return f"<ringnet.Reactor {self.number} connections={len(self.connections)}>"

    # For users: gnet's EventLoop

    def execute(self, call: Callable[[], object]) -> None:
        """Run `call` on this loop's thread soon. From any thread.

        Raises QueueFull, and ConnectionClosed once the loop has stopped. gnet: Execute.
        """
        self.post(self.guard, call)

    def schedule(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call` on this loop's thread after `delay` seconds. On this loop's thread.

        Returns a timer with `cancel()`. gnet: Schedule.
        """
        return self._timers.add(delay, partial(self.guard, call))

    # From any thread

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have a call made on the loop's thread; calls of one thread keep their order."""
        with self._foreign_lock:
            if not self._accepts_calls:
                raise ConnectionClosed("the engine has stopped: its reactors take no more calls")
            if len(self._foreign) >= self.options.max_foreign_calls:
                raise QueueFull(
                    f"{len(self._foreign)} calls wait for {self!r} already "
                    f"(max_foreign_calls={self.options.max_foreign_calls})"
                )
            self._foreign.append((call, arguments))
            if len(self._foreign) == 1:  # else it is awake, or about to be
                self.backend.wake()

    # What the engine's other parts use, on the loop's thread

    def sent(self, handle: int) -> int:
        """Bytes of a connection that the kernel has taken so far."""
        return self.backend.sent[handle & INDEX_MASK]

    def guard(self, call: Callable[..., object], *arguments: Any) -> None:
        """Run a user's call; an exception is logged and harms nothing else."""
        try:
            call(*arguments)
        except Exception:
            self.log.exception("%r: %r raised", self, call)

    def take_handle(self) -> int | None:
        """A handle for a new operation, or None when all are in use."""
        return self._handles.take()

    def give_back_handle(self, handle: int) -> None:
        """A handle that was taken and never used, or whose final event was seen."""
        self._handles.give_back(handle)

    def add_timer(self, delay: float, call: Callable[[], object]) -> Timer:
        """`schedule` for calls of the engine itself, whose exceptions are bugs."""
        return self._timers.add(delay, call)

    def open(self, fd: int) -> None:
        """Make a connection of an accepted descriptor, which is the reactor's from now on."""
        handle = None if self._stopping else self._handles.take()
        if handle is None:
            os.close(fd)
            self.ended += 1
            return
        conn = Connection(self, handle, fd)
        self.connections[handle] = conn
        self.backend.adopt(handle, fd)
        if self._knows_peers:
            _ = conn.remote_address
        self._call_on_open(conn)

    def traffic(self, conn: Connection) -> None:
        """Call `on_traffic` for what there is."""
        try:
            action = self.engine.handler.on_traffic(conn)
            if action:
                self._act(conn, check_action(action, "on_traffic"))
        except Exception as error:
            self._handler_failed(conn, "on_traffic", error)

    def watch_close(self, conn: Connection) -> None:
        """Bound the time a closing connection has to send what it owes."""
        timeout = self.options.close_timeout
        conn._timer = self._timers.add(timeout, partial(self._close_timed_out, conn))

    def listen(self, fds: list[int]) -> None:
        """Accept from listening descriptors, which are the reactor's from now on."""
        for fd in fds:
            self._acceptor.listen(fd)

    def tick(self) -> None:
        """Call `on_tick`, and again after the seconds it returns."""
        try:
            reply = self.engine.handler.on_tick()
            delay, action = split_reply(reply, (int, float), "on_tick")
        except Exception:
            self.log.exception("on_tick raised; it is not called again")
            return
        if isinstance(delay, (int, float)) and not self._stopping:
            self._timers.add(float(delay), self.tick)
        if action is Action.SHUTDOWN:
            self.engine.request_stop()

    def stop(self, timeout: float) -> None:
        """Accept no more, end every connection, then end the loop. gnet: Stop.

        What is still open after `timeout` seconds is closed at once; called again with 0, now.
        """
        first, self._stopping = not self._stopping, True
        if first:
            self._acceptor.close()
            for conn in list(self.connections.values()):
                conn._finish(None)
        if timeout > 0:
            self._timers.add(timeout, self._close_all_now)
        else:
            self._close_all_now()

    # The loop

    def _main(self) -> None:
        self.ident = get_ident()
        try:
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

    def _loop(self) -> None:
        turn = self.backend.turn
        connections = self.connections
        dispatch = self._dispatch
        timers = self._timers
        on_traffic = self.engine.handler.on_traffic
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
                    action = on_traffic(conn)
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
        return not self.connections and not self._acceptor.is_open

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
            self._acceptor.on_error(handle, a)
        elif conn._owner:
            conn._fail(OSError(-a, os.strerror(-a)))

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
        for call, arguments in calls:
            call(*arguments)

    def _cancel_timer(self, conn: Connection) -> None:
        if conn._timer is not None:
            conn._timer.cancel()
            conn._timer = None

    # Handler calls

    def _call_on_open(self, conn: Connection) -> None:
        try:
            reply = self.engine.handler.on_open(conn)
            if reply is None:
                return
            data, action = split_reply(reply, bytes, "on_open")
            if isinstance(data, bytes):
                conn.write(data)
            self._act(conn, action)
        except Exception as error:
            self._handler_failed(conn, "on_open", error)

    def _call_on_close(self, conn: Connection) -> None:
        try:
            reply = self.engine.handler.on_close(conn, conn._error)
            self._act(conn, check_action(reply, "on_close"))
        except Exception:
            self.log.exception("%r: on_close raised", conn)
        for callback in conn._on_closed or ():
            self.guard(callback, conn, conn._error)

    def _act(self, conn: Connection, action: Action) -> None:
        if action is Action.CLOSE:
            conn._finish(None)
        elif action is Action.SHUTDOWN:
            self.engine.request_stop()

    def _handler_failed(self, conn: Connection, method: str, error: Exception) -> None:
        self.log.exception("%r: %s raised; the connection is closed", conn, method)
        conn._finish(error)

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
