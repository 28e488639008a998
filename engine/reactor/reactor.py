"""A reactor: one thread, one backend, and the connections that belong to both.

The law of this file: everything here runs on the reactor's own thread, except `post` (and what is
built on it) and the few calls that start and stop it. The loop makes one turn after another: wait
for events, pass each to its connection, run what is due. Only a failure of the backend ends it
early: any other error affects only what it happened to, see `setbacks.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from itertools import islice
from threading import Thread, get_ident
from typing import TYPE_CHECKING

from ...completion import (
    ACCEPTED,
    CLOSED,
    CONNECTED,
    DATA,
    DATAGRAM,
    DRAINED,
    EOF,
    ERROR,
    INDEX_MASK,
    READY,
    REFUSED,
    SHUT,
    STALLED,
    TRUNCATED,
    WOKEN,
    retried,
)
from ..base.action import check_action
from ..base.current import pin_thread, set_current
from ..base.logs import EXITS
from ..base.sockets import close_descriptor
from ..base.timers import Timer, Timers
from ..connection.stream import END_DUE, WAKE_DUE
from .acceptor import Acceptor
from .callbacks import Callbacks
from .dials import Dials
from .endpoints import Endpoints
from .eventloop import EventLoop
from .free_handles import Handles
from .held import Held
from .mailbox import Mailbox
from .setbacks import NO_EVENT, Setbacks
from .stopping import Stopping
from .streams import Streams
from .watches import Watches

if TYPE_CHECKING:
    from ...completion import Event
    from ..base.contract import Backend, Memory
    from ..connection.connection import Connection
    from ..connection.origin import Origin
    from .free_handles import HandleOwner
    from .host import Host


class Reactor:
    """One reactor of an engine; `face` is the event loop that users see."""

    def __init__(self, engine: Host, number: int) -> None:
        self.engine = engine
        self.face = EventLoop(self)
        self.number = number
        self.budget = engine.budget
        self.options = engine.options
        self.log = engine.log
        self.throttled = engine.logging.throttled
        self.ident = 0
        self.ready: Future[None] = Future()  # done once the backend exists, or has failed
        self.may_serve: Future[bool] = Future()  # set once all reactors are ready, or one failed
        # Connections so far: each counter is written by one thread only.
        self.given = 0  # by the acceptor of another reactor
        self.begun = 0  # by this reactor: accepted for itself, dialed and enrolled
        self.ended = 0  # closed again
        self.connections: dict[int, Connection] = {}
        self.owners: dict[int, HandleOwner] = {}  # of handles that are not connections
        self.backend: Backend
        self.memory: Memory
        self._handles: Handles
        self.callbacks = Callbacks(self)
        self.guard = self.callbacks.guard
        self.failed = self.callbacks.failed
        self.traffic = self.callbacks.traffic
        self.call_on_writable = self.callbacks.on_writable
        self.setbacks = Setbacks(self)
        self.break_off = self.setbacks.break_off
        self.mailbox = Mailbox(self, self.options.max_foreign_calls)
        self.post = self.mailbox.post
        self.post_own = self.mailbox.post_own
        self.hand = self.mailbox.hand
        self.wake_up = self.mailbox.wake_up
        self.timers = Timers(self)
        self.acceptor = Acceptor(self)
        self.dials = Dials(self)
        self.streams = Streams(self)
        self.watch_close = self.streams.watch_close
        self.stopping = Stopping(self)
        self.stop = self.stopping.stop
        self.endpoints = Endpoints(self)
        self.watches = Watches(self)
        # Bytes of its connections that wait in memory, in both directions, beyond the stages.
        self.buffered = 0
        self.held = Held(self)
        # Up to here `max_buffered` needs no check against the other reactors.
        self.buffer_share = self.options.max_buffered if self.options.reactors == 1 else 0
        # Bytes that a connection may write before its waiting bytes are checked: one integer for
        # all of them.
        self.write_room = min(self.options.stage_bytes, self.options.high_water)
        self.again: dict[Connection, None] = {}  # connections to call again, in order
        self._dispatch = self._routes()
        self.thread: Thread | None = None  # its own, if it has one

    def _routes(self) -> dict[int, Callable[[int, int, int], None]]:
        """The handler of each kind of event except DATA."""
        return {
            EOF: self.streams.on_eof,
            ERROR: self._on_error,
            ACCEPTED: self.acceptor.on_accepted,
            STALLED: self.acceptor.on_stalled,
            DRAINED: self._on_drained,
            SHUT: self.streams.on_shut,
            CLOSED: self.closed,
            WOKEN: self._on_woken,
            CONNECTED: self.dials.on_connected,
            READY: self.watches.on_ready,
            DATAGRAM: self.endpoints.on_datagram,
            TRUNCATED: self.endpoints.on_truncated,
            REFUSED: self._on_refused,
        }

    def __repr__(self) -> str:
        return repr(self.face)

    # For the other parts of a reactor, on the loop's thread

    def sent(self, handle: int) -> int:
        """Bytes of a connection that the kernel has taken so far."""
        return self.backend.sent[handle & INDEX_MASK]

    def take_handle(self) -> int | None:
        """A handle for a new operation, or None if all are in use."""
        return self._handles.take()

    def give_back_handle(self, handle: int) -> None:
        """Return a handle that was never used, or that has had its final event."""
        self._handles.give_back(handle)

    def add_timer(self, delay: float, call: Callable[[], object]) -> Timer:
        """`schedule` for calls of the engine itself: an exception in them is a bug."""
        return self.timers.add(delay, call)

    # The loop

    def start(self) -> None:
        """Run on a thread of its own; `ready` reports success or failure."""
        # A daemon, so that a program that does not stop its engine can still end.
        thread = Thread(target=self._main, name=f"ringnet-{self.number}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # no more threads can be started
            self.ready.set_exception(error)
        else:
            self.thread = thread

    def join(self, timeout: float) -> None:
        """Wait for the end of its own thread."""
        if self.thread is not None:
            self.thread.join(timeout)

    def _main(self) -> None:
        self.begin()
        if self.may_serve.result():
            self.serve()
        else:
            self.discard()

    def begin(self) -> None:
        """Create the backend on the calling thread, which becomes the loop's: see `ready`."""
        backend: Backend | None = None
        try:
            self.ident = get_ident()
            set_current(self.face)
            pin_thread(self.options.cpus, self.number)
            backend = self.engine.make_backend()
            self.memory = backend.memory
            self._handles = Handles(backend.capacity)
        except BaseException as error:
            if backend is not None:
                self.guard(backend.dispose)
            self.ident = 0
            self.ready.set_exception(error)
        else:
            self.backend = backend
            self.ready.set_result(None)

    def discard(self) -> None:
        """Undo `begin`, since another reactor could not start. On the thread of `begin`."""
        self.mailbox.close()
        if self.ready.exception() is None:
            self.backend.dispose()
        self.ident = 0

    def serve(self) -> None:
        """Run the loop until it is over. On the thread of `begin`."""
        failure: BaseException | None = None
        try:
            self._loop()
        except EXITS as interrupt:
            failure = interrupt  # `run` and `wait` raise it
        except BaseException as error:
            self.log.critical("%r has failed", self, error=error)
            failure = error
        if not self.engine.is_forked:
            self._close_down(failure)
        self.ident = 0  # the system may reuse the thread's number

    def _loop(self) -> None:
        turn = self.backend.turn
        connections = self.connections
        dispatch = self._dispatch
        timers = self.timers
        heap = timers.heap
        again = self.again
        stopping = self.stopping
        events: Iterator[Event] = iter(())
        handle, kind = 0, NO_EVENT
        conn: Connection | None = None
        while True:
            try:
                for handle, kind, a, b in events:  # or those left after a setback
                    if kind != DATA:
                        dispatch[kind](handle, a, b)
                        continue
                    conn = connections[handle]
                    if conn._inbound is None:
                        conn._offset = a
                        conn._length = b
                    elif not conn._append(a, b):
                        continue
                    try:
                        on_traffic = conn._origin.on_traffic  # inline, to save a call
                        action = on_traffic(conn)
                        if action is not None:
                            self.callbacks.act(conn, check_action(action, "on_traffic"))
                    except BaseException as error:
                        self.callbacks.handler_failed(conn, "on_traffic", error)
                    if conn._length:
                        conn._keep_leftover()
                kind = NO_EVENT
                conn = None  # the last one may end meanwhile, and must then be freed
                if again:
                    self._serve_again()
                if heap and timers.are_due():
                    self._run_due_timers()
                if (stopping.has_begun and self._is_done()) or self.engine.is_forked:
                    return
                events = iter(turn(0.0 if again else timers.timeout() if heap else None))
            except BaseException as error:
                events = self.setbacks.survive(events, handle, kind, error)

    def _is_done(self) -> bool:
        busy = self.connections or self.acceptor.is_open or self.endpoints.is_open
        return not (busy or self.mailbox or self.engine.needs(self))

    def call_again(self, conn: Connection) -> None:
        """Have `on_traffic` called for the unread bytes, after the others had their turn."""
        self.again[conn] = None

    def _serve_again(self) -> None:
        """Call a bounded number of them, each once; repeated requests go to the end."""
        again = self.again
        for conn in list(islice(again, self.options.again_per_turn)):
            del again[conn]
            try:
                self._serve_one_again(conn)
            except BaseException as error:
                self.break_off(conn, error)

    def _serve_one_again(self, conn: Connection) -> None:
        if conn._owner == 0 or conn._paused:
            return
        if not conn.inbound_buffered and conn._inbound is not None:
            conn._inbound = None  # reading was paused, and nothing arrived meanwhile
        if conn.inbound_buffered or conn._marks & WAKE_DUE:
            conn._marks &= ~WAKE_DUE
            self.traffic(conn)
        if conn._marks & END_DUE and not (conn._paused or conn in self.again):
            self.streams.call_on_end(conn)

    def _run_due_timers(self) -> None:
        for call in self.timers.due():
            try:
                call()
            except BaseException as error:
                self.setbacks.timer_failed(call, error)

    def admit_waiting(self) -> None:
        """A connection has ended on some reactor."""
        self.acceptor.admit_waiting()

    def after_fork(self) -> None:
        """In a forked child, which does not have its thread."""
        self.ident = 0
        self.mailbox.after_fork()
        self.endpoints.abandon()
        for conn in list(self.connections.values()):
            conn._owner = 0

    def _close_down(self, failure: BaseException | None) -> None:
        """The last steps; a failing step does not prevent the others."""
        try:
            self.guard(self._refuse_calls)
            self.guard(self.stopping.abandon, failure)
            self.guard(self.acceptor.give_up)
            self.guard(self.backend.dispose)
        finally:
            self.engine.reactor_ended(self, failure)

    def _refuse_calls(self) -> None:
        """Refuse calls from now on; those posted before are made."""
        for call, arguments in retried(self.mailbox.close):
            self.guard(call, *arguments)

    @property
    def is_stopping(self) -> bool:
        """Whether the engine is stopping: it accepts no more, and drains."""
        return self.stopping.has_begun

    def listen(self, fd: int, origin: Origin) -> None:
        """Serve a listening or bound descriptor, which the reactor owns from now on."""
        assert origin.listener is not None
        if self.is_stopping:
            close_descriptor(fd)
            return
        serving = self.endpoints if origin.listener.parsed.is_datagram else self.acceptor
        try:
            serving.listen(fd, origin)
        except BaseException:
            close_descriptor(fd)
            raise

    # Events

    def _on_error(self, handle: int, result: int, b: int) -> None:
        conn = self.connections.get(handle)
        if conn is not None:
            self.streams.on_error(conn, result)
        else:
            self.owners[handle].on_error(handle, result)

    def closed(self, handle: int, lost: int, status: int) -> None:
        """The final event of a handle of any kind."""
        conn = self.connections.pop(handle, None)
        self.guard(self.give_back_handle, handle)
        if conn is not None:
            self.streams.on_closed(conn, lost, status)
        if conn is None or handle in self.owners:  # both: its dial was interrupted
            self.owners.pop(handle).on_closed(handle)

    def _on_drained(self, handle: int, a: int, b: int) -> None:
        conn = self.connections.get(handle)
        if conn is not None:
            conn._pump()
        else:
            self.endpoints.on_drained(handle)

    def _on_refused(self, handle: int, result: int, size: int) -> None:
        conn = self.connections.get(handle)
        if conn is not None:
            self.streams.on_error(conn, result)
        elif handle:
            self.endpoints.on_refused(handle, result, size)
        else:
            self.engine.group.wake_all()  # a cheap wake-up of another reactor has failed

    def _on_woken(self, handle: int, a: int, b: int) -> None:
        for call, arguments in self.mailbox.take():
            try:
                call(*arguments)
            except BaseException as error:
                self.failed("%r: the call of %r raised", self, call, error=error)
