"""The engine: its start, its end, and its state.

Thread rule: `start`, `wait` and `stop` may be called from any thread; in a handler, `stop` only
requests the stop, since a reactor cannot wait for itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future
from math import inf
from typing import Any, Self

from ..base.action import Action, Handler, check_action, check_handler, overrides
from ..base.checks import check_patience, check_seconds
from ..base.contract import Backend
from ..base.current import borrowed_thread
from ..base.errors import ConnectionClosed, EngineStateError, EngineStopped
from ..base.logs import EXITS, EngineLog
from ..base.memory import keep_freed
from ..base.options import Options, make_options
from ..base.processes import STOP_GRACE, note_running
from ..base.source import LocalAddress
from ..connection.connection import Connection
from ..connection.listener import Listener
from ..connection.origin import Origin
from ..reactor.eventloop import EventLoop
from ..reactor.resolvers import Resolvers
from .budget import Budget
from .dialer import Dialer
from .ground import Ground
from .group import Group
from .life import Life
from .listening import Listening


class Engine:
    """Reactors that serve addresses with a handler. gnet: Engine, and the options of gnet.Run.

    The constructor raises TypeError for a handler that lacks methods, AddressError, and
    OptionError. `start` raises the errors of the system: BackendUnavailable, BindError.
    """

    _needs_address = True

    def __init__(self, handler: Handler, *addresses: str, **options: Any) -> None:
        check_handler(handler)
        self.handler = handler
        self.options: Options = make_options(options)
        self.logging = EngineLog(self.options)
        self.log = self.logging.log
        self.log.on_exit = self.end_with
        self.origin = Origin(handler)  # of the connections that the engine itself dials
        self._listening = Listening(addresses, self.log)
        if not addresses and self._needs_address:
            raise TypeError("an engine needs an address, such as 'tcp://127.0.0.1:9000'")
        self.ground = Ground(self.options, self.log)
        self.group = Group(self.options)
        self.budget = Budget(self.options, self.group)
        self.dialer = Dialer(self)
        self.resolvers = Resolvers(self.options.resolver_threads)
        self.life = Life(self.group)
        self.is_forked = False  # this process has only a copy of it

    def __repr__(self) -> str:
        return f"<ringnet.Engine {self.life} {', '.join(self.addresses)}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_forked:
            self.stop()

    # Properties

    @property
    def backend(self) -> str:
        """`io_uring`, `epoll`, `kqueue` or `select`. Raises EngineStateError before the start."""
        return self.ground.chosen.name

    @property
    def backend_reason(self) -> str:
        """Why this backend was chosen. Raises EngineStateError before the start."""
        return self.ground.chosen.reason

    @property
    def reactors(self) -> tuple[EventLoop, ...]:
        """The event loops, while the engine runs."""
        return tuple(reactor.face for reactor in self.group.reactors)

    def count_connections(self) -> int:
        """The number of open connections, including those being handed to their reactor.

        From any thread; exact if nothing changes meanwhile. For one event loop see `load`.
        gnet: CountConnections.
        """
        return self.budget.connections

    def connections(self) -> list[Connection]:
        """The connections that are open now. From any thread, but their methods are not."""
        # A dict is copied in one step, even without the GIL.
        snapshots = [reactor.connections.copy() for reactor in self.group.reactors]
        return [conn for snapshot in snapshots for conn in snapshot.values()]

    @property
    def buffered(self) -> int:
        """Bytes that count for `max_buffered`: those that handlers left unread, and those that wait
        to be sent above the high-water marks. From any thread."""
        return self.budget.buffered

    # Listening

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses; once the engine has started, those that were really bound.

        Passed to another engine, each binds the same. A name gives one for each of its addresses.
        """
        return self._listening.addresses

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """The listeners, one for each of `addresses` and in that order, after the start."""
        return tuple(self._listening.listeners)

    def dup_listener(self, address: str = "") -> socket.socket:
        """A new socket object for a listening socket: the first one, or that of an address.

        Raises EngineStateError if the engine is not running, and ValueError for an address that it
        does not listen on. gnet: Dup, DupListener.
        """
        self.validate()
        sock = self._listening.dup(address)
        if sock is None:
            raise ValueError(f"{self!r} is not listening on {address!r}")
        return sock

    def hand_over(self) -> dict[str, list[int]]:
        """Inheritable descriptors of the listening sockets, by address, for a successor.

        A process that inherits them (`pass_fds` of `subprocess`) serves them as `fd://N`: new
        connections then reach either process, and none is refused. The caller has to close the
        descriptors; the successor removes the files of Unix sockets. Raises EngineStateError.

        Write `on_drain` as well (see examples/restart.py): by default a connection that was
        accepted at the last moment is closed without its answer.
        """
        self.validate()
        return self._listening.hand_over()

    # Outgoing and enrolled connections

    def register(
        self,
        address: str,
        timeout: float | None = None,
        context: Any = None,
        *,
        local_address: LocalAddress = None,
    ) -> Future[Connection]:
        """Connect to an address for this handler, on the reactor with the fewest connections.

        The future gets the connection after `on_open` has been called, or the error: see
        `Client.dial`. From any thread. gnet: Engine.Register.
        """
        return self.dialer.dial(self.origin, address, timeout, context, None, local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Future[Connection]:
        """Take over a connected TCP, UDP or Unix socket. The socket object is detached from its
        descriptor, and the engine's options are set on it.

        Raises TypeError unless it is a plain socket (not an SSLSocket), OSError if it is not
        connected, listening, closed, of another kind or already enrolled, and QueueFull; the socket
        then remains the caller's. The future gets the connection or an error; in case of an error,
        and if the engine has ended meanwhile, the socket is closed. From any thread.
        gnet: Engine.Register.
        """
        return self.dialer.enroll(self.origin, sock, context)

    # State

    def validate(self) -> None:
        """Raise EngineStateError unless the engine is running; EngineStopped if it is stopping or
        has ended. gnet: Validate."""
        self._check_process()
        if self.is_stopping:
            raise EngineStopped(f"{self!r} is stopping and accepts no more connections")
        if not (self.is_running or self.life.is_new):
            raise EngineStopped(f"{self!r} is no longer running: create a new one")
        if self.life.is_new:
            raise EngineStateError(f"{self!r} is not running: start it first")

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended yet."""
        return self.life.is_running

    @property
    def is_stopping(self) -> bool:
        """Whether it is stopping: it drains, and accepts no more connections."""
        return self.life.is_stopping

    @property
    def is_given_up(self) -> bool:
        """For the engine: whether it should have ended, but a handler has not returned."""
        return self.is_running and self.group.is_given_up

    def after_fork(self) -> None:
        """For the engine: in a forked child, where it is a copy of the parent's."""
        self.is_forked = True
        self.life.after_fork()
        self.group.after_fork()

    def _check_process(self) -> None:
        if self.is_forked:
            raise EngineStateError(
                "this engine belongs to the parent process: create a new one in the child"
            )

    # Start and end

    def start(self) -> Self:
        """Bind, call `on_boot`, and serve on threads of its own. Returns once it is serving.

        Raises BackendUnavailable, BindError, AddressError, and exceptions of `on_boot`; no bound
        socket and no thread is left then. Raises EngineStateError if it was started before.
        """
        self._start(here=False)
        return self

    def run_here(self, fd: int = -1, on_readable: Callable[[], object] | None = None) -> None:
        """`start` and `wait`, with the first reactor on the calling thread; see `ringnet.run`.

        `on_readable()` is called there whenever `fd` is readable, as long as any reactor runs.
        """
        with borrowed_thread():
            self._start(here=True)
            hosted = self.group.hosted
            assert hosted is not None
            if on_readable is not None:
                hosted.post_own(hosted.watches.add, fd, on_readable)
            hosted.serve()
        self._wait_for_others()

    def _start(self, here: bool) -> None:
        self.life.begin()
        try:
            self._prepare(here)
        except BaseException:  # or an interrupt, at any step
            self._undo_start()
            raise
        finally:
            self.life.begun()

    def _wait_for_others(self) -> None:
        """Wait for the other reactors; one whose handler does not return is abandoned."""
        if self.wait(STOP_GRACE):
            return
        stuck = [reactor for reactor in self.group.reactors if reactor.ident]
        self.log.error("%r: handlers on %s have not returned and are abandoned", self, stuck)
        self.group.raise_failure()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the engine has ended; returns False if `timeout` seconds pass first.

        Raises the error of a reactor that failed; EngineStateError before the start, in `on_boot`
        and on a reactor's thread, where it would wait for itself; TypeError and ValueError.
        """
        self._check_process()
        check_patience(timeout)
        self.life.check_may_wait("wait")
        if not self.life.wait(timeout, self.group.join):
            return False
        self.group.raise_failure()
        return True

    def stop(self, timeout: float | None = None) -> bool:
        """Stop accepting, send the remaining bytes, close every connection, and wait for the end.

        What is still open after `timeout` seconds (None: the option `stop_timeout`; `math.inf`: no
        limit) is closed at once. Returns whether the engine has ended; False if a handler has not
        returned STOP_GRACE seconds after that time (the engine is running until it does). It does
        not wait on a reactor's thread, in `on_boot`, or in a signal handler that has interrupted
        `wait` or a call that posts to a reactor. Raises TypeError and ValueError. gnet: Stop.
        """
        self._check_process()
        limit = self._stop_limit(timeout)
        self.request_stop(limit)
        if not self.life.may_wait:
            return self.life.is_ended
        return self.wait(limit + STOP_GRACE)

    def _stop_limit(self, timeout: float | None) -> float:
        limit = self.options.stop_timeout if timeout is None else timeout
        return check_seconds("timeout", limit, inf)

    def request_stop(self, timeout: float | None = None) -> None:
        """`stop` without waiting, from any thread. A later call with 0 ends it at once."""
        limit = self._stop_limit(timeout)
        self.life.stop_requested = True
        self.group.limit_patience(limit + STOP_GRACE)
        if self.group.reactors:
            self._listening.close()
        self.group.stop(limit)

    def _prepare(self, here: bool) -> None:
        self.ground.choose()
        keep_freed(self.options.kept_memory)
        self.logging.open_file(self.options.log_file)
        self._listening.open(self.options)
        action = check_action(self.handler.on_boot(self), "on_boot")
        note_running(self)  # first: what serves may fork
        self.group.start(self, here)
        # Listeners need handles as well, and so does the pipe of the signals.
        room = self.group.capacity - len(self.listeners) - 1
        self.budget.max_connections = min(self.options.max_connections, room)
        self._serve()
        self.log.info("%r serves with %s: %s", self, self.backend, self.backend_reason)
        if action is Action.SHUTDOWN or self.life.stop_requested:
            self.request_stop()

    def _undo_start(self) -> None:
        try:
            self.request_stop(0)
            if self.group.hosted is not None:
                self.group.hosted.serve()
            self.group.join()
            self._listening.close()
            self.logging.close()
        finally:
            self.life.end()

    def _serve(self) -> None:
        self.origin.look_up()  # on_boot may have set methods on the handler
        try:
            for listener in self.listeners:
                self.group.listen(Origin(self.handler, listener))
            if overrides(self.handler, "on_tick"):
                self.group.tick()
        except (OSError, ConnectionClosed):
            if not self.life.stop_requested:
                raise  # otherwise another thread has stopped it meanwhile

    # For the reactors

    def make_backend(self) -> Backend:
        """For the engine: create a backend on the calling thread."""
        return self.ground.make_backend()

    def needs(self, reactor: Any) -> bool:
        """For the engine: whether a reactor may not end yet."""
        return self.group.needs(reactor, self.budget.still_accepts)

    def reactor_ended(self, reactor: Any, failure: BaseException | None) -> None:
        """For the engine: the last call of a reactor; if it has failed, the engine ends."""
        is_last = self.group.note_end(failure)
        try:
            if failure is not None:
                self.request_stop(0)
        finally:
            if is_last:
                self._close_down()
            elif self.group.hosted is not None:
                self.group.hosted.wake_up()  # it may be the last one now

    def end_with(self, interrupt: BaseException) -> None:
        """For the engine: users' code has raised what ends a program (EXITS): stop, and raise it in
        `wait`. Gracefully for SystemExit, at once for KeyboardInterrupt."""
        self.group.note_failure(interrupt)
        self.request_stop(0 if isinstance(interrupt, KeyboardInterrupt) else None)

    def _close_down(self) -> None:
        try:
            self._take_last_step("on_shutdown", lambda: self.handler.on_shutdown(self))
            self._take_last_step("ending the resolvers", self.resolvers.end)
            self._take_last_step("closing the listeners", self._listening.close)
            self.log.info("the engine has ended: %s", ", ".join(self.addresses) or "no address")
            self.logging.close()
        finally:
            self.life.end()

    def _take_last_step(self, name: str, step: Callable[[], object]) -> None:
        """Take a step whose failure does not prevent the others."""
        try:
            step()
        except EXITS as interrupt:
            self.end_with(interrupt)
        except BaseException as error:
            self.log.error(f"%r: {name} raised", self, error=error)


class ClientEngine(Engine):
    """Reactors without an address."""

    _needs_address = False
