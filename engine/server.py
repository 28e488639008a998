"""The engine: its start, its end, and what it can be asked.

Thread rule: `start`, `wait` and `stop` may be called from any thread; `stop` from a handler only
asks for the end, since a reactor cannot wait for itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Self

from .action import Action, Handler, check_action, check_handler, overrides
from .address import parse_address
from .backend import Backend
from .bells import Latch
from .binding import open_listeners
from .checks import check_patience, check_seconds
from .choose import Choice, Verdict, choose, choose_instead, confirm
from .connection import Connection
from .current import borrowed_thread
from .dialing import Dialing
from .errors import BackendUnavailable, ConnectionClosed, EngineStateError, EngineStopped
from .group import ReactorGroup
from .listener import Listener, close_all
from .listening import Listening
from .logs import EXITS, EngineLog
from .memory import keep_freed
from .options import Options, make_options
from .origin import Origin
from .processes import STOP_GRACE, note_running
from .reactor import Reactor
from .resolvers import Resolvers
from .shared import Shared


class Engine(Dialing, Listening, ReactorGroup, Shared):
    """Reactors that serve addresses with a handler. gnet: Engine, and gnet.Run's options.

    Raises at once: TypeError for a handler without its methods, AddressError, OptionError. `start`
    raises what needs the system: BackendUnavailable, BindError.
    """

    _needs_address = True

    def __init__(self, handler: Handler, *addresses: str, **options: Any) -> None:
        super().__init__()
        check_handler(handler)
        self.handler = handler
        self.options: Options = make_options(options)
        self.logging = EngineLog(self.options)
        self.log = self.logging.log
        self.log.heed = self.end_with
        self.max_connections = self.options.max_connections
        self.origin = Origin(handler)  # of the connections that it dials itself
        self._parsed = [parse_address(text) for text in addresses]
        if not self._parsed and self._needs_address:
            raise TypeError("an engine needs an address, such as 'tcp://127.0.0.1:9000'")
        self.resolvers = Resolvers(self.options.resolver_threads)
        self._choice: Choice | None = None
        self._listeners: list[Listener] = []
        self._state = "new"  # new, running, ended
        self._stop_asked = False
        self._starter = 0  # the thread that is inside `start`
        self._waiters: set[int] = set()  # the threads that are inside `wait`
        self._ended = Latch()
        self.is_forked = False  # this process has only a copy of it

    @classmethod
    def _without_addresses(cls, handler: Handler, options: dict[str, Any]) -> Engine:
        """For clients, which serve nothing."""
        return _ClientEngine(handler, **options)

    def __repr__(self) -> str:
        state = "stopping" if self.is_stopping else self._state
        return f"<ringnet.Engine {state} {', '.join(self.addresses)}>"

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
        return self._chosen().name

    @property
    def backend_reason(self) -> str:
        """Why it is that backend."""
        return self._chosen().reason

    @property
    def reactors(self) -> tuple[Reactor, ...]:
        """The event loops, while the engine runs."""
        return tuple(self._reactors)

    def count_connections(self) -> int:
        """Connections that are open, or on their way to their reactor. gnet: CountConnections.

        From any thread; exact when nothing changes meanwhile. One reactor's are its `load`.
        """
        count = 0
        for reactor in self._reactors:  # their `load`: this is asked for each newcomer
            count += reactor.given + reactor.begun - reactor.ended
        return count

    def connections(self) -> list[Connection]:
        """The connections that are open now. From any thread; what they offer has its own rule."""
        # A copy of a dict is made in one step, also without the GIL.
        snapshots = [reactor.connections.copy() for reactor in self._reactors]
        return [conn for snapshot in snapshots for conn in snapshot.values()]

    def validate(self) -> None:
        """Raise EngineStateError unless the engine runs: EngineStopped where it is stopping, or
        has ended. gnet: Validate."""
        self._check_process()
        if self._state == "ended":
            raise EngineStopped(f"{self!r} does not run any more: make another")
        if self.is_stopping:
            raise EngineStopped(f"{self!r} is stopping: it takes no more connections")
        if not self.is_running or self._stop_asked:
            raise EngineStateError(f"{self!r} does not run: start it first")

    def _chosen(self) -> Choice:
        if self._choice is None:
            raise EngineStateError("the backend is chosen by start(): start the engine first")
        return self._choice

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended yet."""
        return self._state == "running"

    @property
    def is_stopping(self) -> bool:
        """Whether it runs, but was asked to stop: it drains, and takes no more connections."""
        return self._stop_asked and self._state == "running"

    @property
    def is_given_up(self) -> bool:
        """Whether it should have ended, but has a handler that does not return."""
        return self.is_running and monotonic() > self._give_up_at

    def be_forked(self) -> None:
        """In a forked child: what is here is a copy, and belongs to the parent."""
        self.is_forked = True
        self._state = "ended"
        for reactor in self._reactors:
            reactor.be_forked()

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

    def run_here(self, fd: int = -1, heed: Callable[[], object] | None = None) -> None:
        """`start` and `wait`, with the first reactor on the calling thread; see `ringnet.run`.

        `heed()` is called there whenever `fd` can be read, for as long as any reactor runs.
        """
        with borrowed_thread():
            self._start(here=True)
            assert self._host is not None
            if heed is not None:
                self._host.post_own(self._host.watches.add, fd, heed)
            self._host.serve()
        self._see_off()

    def _start(self, here: bool) -> None:
        with self._state_lock:
            if self._state != "new":
                raise EngineStateError("an engine is started once: make another")
            self._state = "running"
        self._starter = threading.get_ident()
        try:
            self._prepare(here)
        except BaseException:
            self._state = "ended"
            self._ended.set()
            raise
        finally:
            self._starter = 0
        note_running(self)

    def _see_off(self) -> None:
        """The hosted reactor is over, and so are the others, but for one that is stuck."""
        if self.wait(STOP_GRACE):
            return
        stuck = [reactor for reactor in self._reactors if reactor.ident]
        self.log.error("%r: handlers on %s have not returned: left behind", self, stuck)
        if self._failure is not None:
            raise self._failure

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the engine has ended; False if `timeout` seconds passed first.

        Raises what made a reactor fail, if one did; EngineStateError before the start, in `on_boot`
        and on a reactor's thread, which it would wait for; TypeError and ValueError.
        """
        self._check_process()
        check_patience(timeout)
        self.check_may_wait("wait")
        try:
            self._waiters.add(threading.get_ident())
            if not self._ended.wait(timeout):
                return False
            self._join_reactors()
        finally:
            self._waiters.discard(threading.get_ident())
        if self._failure is not None:
            raise self._failure
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
        me = threading.get_ident()
        is_inside = self._starter == me or me in self._waiters or self._is_reactor_thread()
        if self._state == "new" or is_inside or self._holds_one_up():
            return self._ended.is_set()
        return self.wait(limit + STOP_GRACE)

    def _stop_limit(self, timeout: float | None) -> float:
        limit = self.options.stop_timeout if timeout is None else timeout
        return check_seconds("timeout", limit, inf)

    def request_stop(self, timeout: float | None = None) -> None:
        """`stop` without waiting, from any thread. Asked again with 0, it ends at once."""
        limit = self._stop_limit(timeout)
        self._stop_asked = True
        self._limit_patience(limit + STOP_GRACE)
        if self._reactors:
            self._close_listeners()
        for reactor in self._reactors:
            with suppress(ConnectionClosed):  # it has ended already
                reactor.post_own(reactor.stop, limit)

    def _prepare(self, here: bool) -> None:
        chosen = choose(self.options.backend)
        self._choice = confirm(chosen, self.options.bounds(), self.options.reactors)
        self._say_choice(self._choice)
        keep_freed(self.options.kept_memory)
        self.logging.open_file(self.options.log_file)
        try:
            self._listeners = open_listeners(self._parsed, self.options, self.options.reactors)
            action = check_action(self.handler.on_boot(self), "on_boot")
            self._start_reactors(self, here)
            self._serve_unless_stopped()
        except BaseException:
            self._end_reactors()
            self._close_listeners()
            self.logging.close()
            raise
        self.log.info("%r serves with %s: %s", self, self.backend, self.backend_reason)
        if action is Action.SHUTDOWN or self._stop_asked:
            self.request_stop()

    def _say_choice(self, choice: Choice) -> None:
        passed = choice.passed_over
        if passed is not None:
            remedy = f"; {passed.remedy}" if passed.remedy else ""
            self.log.warning("using %s: %s%s", choice.name, passed.reason, remedy)

    def _serve_unless_stopped(self) -> None:
        try:
            self._serve()
        except (OSError, ConnectionClosed):
            if not self._stop_asked:
                raise  # else another thread was faster

    def _serve(self) -> None:
        first = self._reactors[0]
        self.origin.look_up()  # on_boot may have set them
        for listener in self._listeners:
            origin = Origin(self.handler, listener)
            fds = listener.descriptors()
            try:
                for reactor in self._reactors[: len(fds)]:
                    with suppress(ConnectionClosed):  # it was stopped, and has ended already
                        reactor.post_own(reactor.listen, fds[-1], origin)
                        fds.pop()  # which is the reactor's now
            finally:
                close_all(fds)
        if overrides(self.handler, "on_tick"):
            with suppress(ConnectionClosed):
                first.post_own(first.callbacks.tick)

    # For the reactors

    def make_backend(self) -> Backend:
        """A backend, on the calling thread."""
        return self._chosen().make(self.options.bounds())

    def fall_back(self, error: BaseException) -> bool:
        """Whether another backend takes the place of one that could not be made after all."""
        if self._chosen().is_forced or not isinstance(error, BackendUnavailable):
            return False
        self._choice = choose_instead(Verdict("io_uring", False, str(error)))
        self._say_choice(self._choice)
        return True

    def _finish(self) -> None:
        try:
            self._take_last_step("on_shutdown", lambda: self.handler.on_shutdown(self))
            self._take_last_step("ending the resolvers", self.resolvers.end)
            self._take_last_step("closing the listeners", self._close_listeners)
            self.log.info("%r has ended", self)
            self.logging.close()
        finally:
            self._state = "ended"
            self._ended.set()

    def _take_last_step(self, name: str, step: Callable[[], object]) -> None:
        """Whatever becomes of it, the others follow."""
        try:
            step()
        except EXITS as wish:
            self.end_with(wish)
        except BaseException as error:
            self.log.error(f"%r: {name} raised", self, error=error)


class _ClientEngine(Engine):
    """Reactors without an address."""

    _needs_address = False
