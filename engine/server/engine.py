"""The engine: its start, its end, and what it can be asked.

Thread rule: `start`, `wait` and `stop` may be called from any thread; `stop` from a handler only
asks for the end, since a reactor cannot wait for itself.
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
    """Reactors that serve addresses with a handler. gnet: Engine, and gnet.Run's options.

    Raises at once: TypeError for a handler without its methods, AddressError, OptionError. `start`
    raises what needs the system: BackendUnavailable, BindError.
    """

    _needs_address = True

    def __init__(self, handler: Handler, *addresses: str, **options: Any) -> None:
        check_handler(handler)
        self.handler = handler
        self.options: Options = make_options(options)
        self.logging = EngineLog(self.options)
        self.log = self.logging.log
        self.log.on_exit = self.end_with
        self.origin = Origin(handler)  # of the connections that it dials itself
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

    # What it is

    @property
    def backend(self) -> str:
        """The backend's name: `io_uring`, `epoll`, `kqueue` or `select`."""
        return self.ground.chosen.name

    @property
    def backend_reason(self) -> str:
        """Why it is that backend."""
        return self.ground.chosen.reason

    @property
    def reactors(self) -> tuple[EventLoop, ...]:
        """The event loops, while the engine runs."""
        return tuple(reactor.face for reactor in self.group.reactors)

    def count_connections(self) -> int:
        """Connections that are open, or on their way to their reactor. gnet: CountConnections.

        From any thread; exact when nothing changes meanwhile. One reactor's are its `load`.
        """
        return self.budget.connections

    def connections(self) -> list[Connection]:
        """The connections that are open now. From any thread; what they offer has its own rule."""
        # A copy of a dict is made in one step, also without the GIL.
        snapshots = [reactor.connections.copy() for reactor in self.group.reactors]
        return [conn for snapshot in snapshots for conn in snapshot.values()]

    @property
    def buffered(self) -> int:
        """Bytes that connections have in memory beyond their stages: what handlers left unread,
        and what is written above the high-water marks. From any thread; see `max_buffered`."""
        return self.budget.buffered

    # What it listens on

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, as they were really bound once the engine has started.

        Given again, each binds the same; of a name there is one for each of its addresses.
        """
        return self._listening.addresses

    @property
    def listeners(self) -> tuple[Listener, ...]:
        """One for each of `addresses`, in their order, once the engine has started."""
        return tuple(self._listening.listeners)

    def dup_listener(self, address: str = "") -> socket.socket:
        """A socket object of its own for a listening socket: the first, or that of an address.

        Raises EngineStateError where the engine does not run, and ValueError for an address that it
        does not listen on. gnet: Dup, DupListener.
        """
        self.validate()
        sock = self._listening.dup(address)
        if sock is None:
            raise ValueError(f"{self!r} does not listen on {address!r}")
        return sock

    def hand_over(self) -> dict[str, list[int]]:
        """Inheritable descriptors of the listening sockets, by address, for a successor.

        A process that gets them (`subprocess`, `pass_fds`) listens with the addresses `fd://N`:
        newcomers then find either process, and none is refused. They are the caller's to close;
        the files of Unix sockets are the successor's to remove. Raises EngineStateError.
        """
        self.validate()
        return self._listening.hand_over()

    # Connections that it begins, or takes over

    def register(
        self,
        address: str,
        timeout: float | None = None,
        context: Any = None,
        *,
        local_address: LocalAddress = None,
    ) -> Future[Connection]:
        """Connect to an address, on the reactor with the fewest connections; for this handler.

        The future has the connection when `on_open` has been called, or the error: see
        `Client.dial`. From any thread. gnet: Engine.Register.
        """
        return self.dialer.dial(self.origin, address, timeout, context, None, local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Future[Connection]:
        """Take over a connected socket: TCP, UDP or Unix. The object is detached from its
        descriptor, and the options of the engine are set on it.

        Raises TypeError for what is no plain socket (an SSLSocket is none), OSError where it is not
        connected, listens, is closed, of another kind or enrolled already, and QueueFull: then it
        stays the caller's. The future has the connection, or why there is none; then, and where
        the engine has ended meanwhile, the socket is closed. From any thread. gnet:
        Engine.Register.
        """
        return self.dialer.enroll(self.origin, sock, context)

    # Its states

    def validate(self) -> None:
        """Raise EngineStateError unless the engine runs: EngineStopped where it is stopping, or
        has ended. gnet: Validate."""
        self._check_process()
        if self.is_stopping:
            raise EngineStopped(f"{self!r} is stopping: it takes no more connections")
        if not (self.is_running or self.life.is_new):
            raise EngineStopped(f"{self!r} does not run any more: make another")
        if self.life.is_new:
            raise EngineStateError(f"{self!r} does not run: start it first")

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended yet."""
        return self.life.is_running

    @property
    def is_stopping(self) -> bool:
        """Whether it runs, but was asked to stop: it drains, and takes no more connections."""
        return self.life.is_stopping

    @property
    def is_given_up(self) -> bool:
        """Whether it should have ended, but has a handler that does not return."""
        return self.is_running and self.group.is_given_up

    def be_forked(self) -> None:
        """In a forked child: what is here is a copy, and belongs to the parent."""
        self.is_forked = True
        self.life.be_forked()
        self.group.be_forked()

    def _check_process(self) -> None:
        if self.is_forked:
            raise EngineStateError(
                "this engine belongs to the process that was forked: make another in the child"
            )

    # Start and end

    def start(self) -> Self:
        """Bind, call `on_boot`, and serve from threads of its own. Returns when it serves.

        Raises BackendUnavailable, BindError, AddressError, and what `on_boot` raises; then
        nothing is left bound and no thread is left.
        """
        self._start(here=False)
        return self

    def run_here(self, fd: int = -1, on_readable: Callable[[], object] | None = None) -> None:
        """`start` and `wait`, with the first reactor on the calling thread; see `ringnet.run`.

        `on_readable()` is called there whenever `fd` can be read, for as long as any reactor runs.
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
            note_running(self)
        except BaseException:  # or an interrupt, at any step
            self._undo_start()
            raise
        finally:
            self.life.begun()

    def _wait_for_others(self) -> None:
        """The hosted reactor is over, and so are the others, but for one that is stuck."""
        if self.wait(STOP_GRACE):
            return
        stuck = [reactor for reactor in self.group.reactors if reactor.ident]
        self.log.error("%r: handlers on %s have not returned: left behind", self, stuck)
        self.group.raise_failure()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the engine has ended; False if `timeout` seconds passed first.

        Raises what made a reactor fail, if one did; EngineStateError before the start, in `on_boot`
        and on a reactor's thread, which it would wait for; TypeError and ValueError.
        """
        self._check_process()
        check_patience(timeout)
        self.life.check_may_wait("wait")
        if not self.life.wait(timeout, self.group.join):
            return False
        self.group.raise_failure()
        return True

    def stop(self, timeout: float | None = None) -> bool:
        """Accept no more, send what is owed, close every connection, then wait for the end.

        What is still open after `timeout` seconds (None: the option `stop_timeout`; `math.inf` for
        no limit) is closed at once. It does not wait on a reactor's thread, in `on_boot`, and where
        a signal's handler has interrupted `wait` or a call that posts to a reactor. Returns whether
        the engine has ended: False also where a handler has not returned by then and STOP_GRACE
        seconds more; the engine is running until it does. Raises TypeError and ValueError. gnet:
        Stop.
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
        """`stop` without waiting, from any thread. Asked again with 0, it ends at once."""
        limit = self._stop_limit(timeout)
        self.life.stop_asked = True
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
        self.group.start(self, here)
        # Listeners need handles as well, and so does what brings the signals.
        room = self.group.capacity - len(self.listeners) - 1
        self.budget.max_connections = min(self.options.max_connections, room)
        self._serve()
        self.log.info("%r serves with %s: %s", self, self.backend, self.backend_reason)
        if action is Action.SHUTDOWN or self.life.stop_asked:
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
        self.origin.look_up()  # on_boot may have set them
        try:
            for listener in self.listeners:
                self.group.listen(Origin(self.handler, listener))
            if overrides(self.handler, "on_tick"):
                self.group.tick()
        except (OSError, ConnectionClosed):
            if not self.life.stop_asked:
                raise  # else another thread was faster

    # For the reactors

    def make_backend(self) -> Backend:
        """A backend, on the calling thread."""
        return self.ground.make_backend()

    def needs(self, reactor: Any) -> bool:
        """Whether a reactor may not end yet."""
        return self.group.needs(reactor, self.budget.still_accepts)

    def reactor_ended(self, reactor: Any, failure: BaseException | None) -> None:
        """The last word of a reactor, on its thread. A failed one ends the whole engine."""
        is_last = self.group.note_end(failure)
        try:
            if failure is not None:
                self.request_stop(0)
        finally:
            if is_last:
                self._finish()
            elif self.group.hosted is not None:
                self.group.hosted.wake_up()  # it may be the last one now

    def end_with(self, interrupt: BaseException) -> None:
        """A user's code has raised what ends a program (EXITS): stop, and have `wait` raise it.

        In good order for SystemExit; KeyboardInterrupt means that nobody wants to wait.
        """
        self.group.note_failure(interrupt)
        self.request_stop(0 if isinstance(interrupt, KeyboardInterrupt) else None)

    def _finish(self) -> None:
        try:
            self._take_last_step("on_shutdown", lambda: self.handler.on_shutdown(self))
            self._take_last_step("ending the resolvers", self.resolvers.end)
            self._take_last_step("closing the listeners", self._listening.close)
            self.log.info("%r has ended", self)
            self.logging.close()
        finally:
            self.life.end()

    def _take_last_step(self, name: str, step: Callable[[], object]) -> None:
        """Whatever becomes of it, the others follow."""
        try:
            step()
        except EXITS as interrupt:
            self.end_with(interrupt)
        except BaseException as error:
            self.log.error(f"%r: {name} raised", self, error=error)


class ClientEngine(Engine):
    """Reactors without an address."""

    _needs_address = False
