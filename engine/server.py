"""The engine: its start, its end, and `run`.

Thread rule: `start`, `wait` and `stop` may be called from any thread; `stop` from a handler only
asks for the end, since a reactor cannot wait for itself.
"""

from __future__ import annotations

import atexit
import logging
import signal
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Self

from .address import parse_address
from .backend import Backend
from .balancer import Balancer, RoundRobin
from .choose import Choice, choose
from .errors import ConnectionClosed, EngineStateError
from .handler import Action, EventHandler, check_action, check_handler
from .listener import Listener, open_listeners
from .options import Options, make_options
from .reactor import Reactor

_live: weakref.WeakSet[Engine] = weakref.WeakSet()
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Engine:
    """Reactors that serve addresses with a handler. gnet: Engine, and gnet.Run's options.

    Raises at once: TypeError for a handler without its methods, AddressError, OptionError. `start`
    raises what needs the system: BackendUnavailable, BindError.
    """

    def __init__(self, handler: EventHandler, *addresses: str, **options: Any) -> None:
        check_handler(handler)
        self.handler = handler
        self.options: Options = make_options(options)
        self.log = logging.getLogger("ringnet")
        self.max_connections = self.options.max_connections
        self.accepted = 0  # by the acceptor's thread
        self.balancer: Balancer
        self._parsed = [parse_address(text) for text in addresses]
        if not self._parsed:
            raise TypeError("an engine needs an address, such as 'tcp://127.0.0.1:9000'")
        self._choice: Choice | None = None
        self._listeners: list[Listener] = []
        self._reactors: list[Reactor] = []
        self._running = 0
        self._state_lock = threading.Lock()
        self._state = "new"  # new, running, ended
        self._stop_asked = False
        self._ended = threading.Event()
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        return f"<ringnet.Engine {self._state} {', '.join(self.addresses)}>"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # What it is

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses, as they were really bound once the engine has started."""
        bound = [listener.address for listener in self._listeners]
        return tuple(str(address) for address in bound or self._parsed)

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

        From any thread; exact when nothing changes meanwhile.
        """
        return self.accepted - sum(reactor.ended for reactor in self._reactors)

    def _chosen(self) -> Choice:
        if self._choice is None:
            raise EngineStateError("the backend is chosen by start(): start the engine first")
        return self._choice

    # Start and end

    def start(self) -> Self:
        """Bind, call `on_boot`, and serve from threads of its own. Returns when it serves.

        Raises BackendUnavailable, BindError, AddressError, and what `on_boot` raises; then
        nothing is left bound and no thread is left.
        """
        with self._state_lock:
            if self._state != "new":
                raise EngineStateError("an engine is started once: make another")
            self._state = "running"
        try:
            self._prepare()
        except BaseException:
            self._state = "ended"
            self._ended.set()
            raise
        _live.add(self)
        return self

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the engine has ended; False if `timeout` seconds passed first.

        Raises what made a reactor fail, if one did.
        """
        self._check_thread("wait")
        if not self._ended.wait(timeout):
            return False
        for reactor in self._reactors:
            reactor.thread.join()
        if self._failure is not None:
            raise self._failure
        return True

    def stop(self, timeout: float | None = None) -> bool:
        """Accept no more, send what is owed, close every connection, then wait for the end.

        What is still open after `timeout` seconds (None: the option `stop_timeout`) is closed at
        once. On a reactor's thread it does not wait. Returns whether the engine has ended.
        gnet: Stop.
        """
        self.request_stop(timeout)
        if self._state == "new" or self._is_reactor_thread():
            return self._ended.is_set()
        return self.wait()

    def request_stop(self, timeout: float | None = None) -> None:
        """`stop` without waiting, from any thread. Asked again with 0, it ends at once."""
        self._stop_asked = True
        limit = self.options.stop_timeout if timeout is None else timeout
        for reactor in self._reactors:
            try:
                reactor.post(reactor.stop, limit)
            except ConnectionClosed:
                continue  # it has ended already

    def _prepare(self) -> None:
        self._choice = choose(self.options.backend)
        self._say_choice(self._choice)
        nonblocking = self._choice.name != "io_uring"
        self._listeners = open_listeners(self._parsed, self.options, nonblocking)
        try:
            action = check_action(self.handler.on_boot(self), "on_boot")
            self._start_reactors()
        except BaseException:
            self._close_listeners()
            raise
        self._serve()
        if action is Action.SHUTDOWN or self._stop_asked:
            self.request_stop()

    def _say_choice(self, choice: Choice) -> None:
        passed = choice.passed_over
        if passed is not None:
            remedy = f"; {passed.remedy}" if passed.remedy else ""
            self.log.warning("using %s: %s%s", choice.name, passed.reason, remedy)

    def _start_reactors(self) -> None:
        reactors = [Reactor(self, number) for number in range(self.options.reactors)]
        self._running = len(reactors)
        for reactor in reactors:
            reactor.thread.start()
        failures = [reactor.ready.exception() for reactor in reactors]
        self._reactors = [r for r, e in zip(reactors, failures, strict=True) if e is None]
        first = next((failure for failure in failures if failure is not None), None)
        if first is not None:
            self._running = len(self._reactors)
            self.request_stop(0)
            for reactor in reactors:
                reactor.thread.join()
            raise first
        self.max_connections = min(
            self.options.max_connections,
            sum(reactor.backend.capacity for reactor in reactors) - len(self._listeners),
        )
        self.balancer = RoundRobin(reactors)

    def _serve(self) -> None:
        first = self._reactors[0]
        first.post(first.listen, [listener.sock.detach() for listener in self._listeners])
        if self.handler_has("on_tick"):
            first.post(first.tick)

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            listener.sock.close()

    # For the reactors

    def handler_has(self, method: str) -> bool:
        """Whether the handler does something of its own there."""
        own = getattr(type(self.handler), method, None)
        return own is not getattr(EventHandler, method)

    def make_backend(self) -> Backend:
        """A backend, on the calling thread."""
        return self._chosen().make(self.options.bounds())

    def reactor_ended(self, reactor: Reactor, failure: BaseException | None) -> None:
        """The last word of a reactor, on its thread. A failed one ends the whole engine."""
        with self._state_lock:
            self._running -= 1
            last = self._running == 0
            self._failure = self._failure or failure
        if failure is not None:
            self.request_stop(0)
        if last:
            self._finish()

    def _finish(self) -> None:
        try:
            self.handler.on_shutdown(self)
        except Exception:
            self.log.exception("on_shutdown raised")
        self._state = "ended"
        self._ended.set()

    def _is_reactor_thread(self) -> bool:
        return any(reactor.ident == threading.get_ident() for reactor in self._reactors)

    def _check_thread(self, method: str) -> None:
        if self._is_reactor_thread():
            raise EngineStateError(f"{method} on a reactor's thread would wait for itself")
        if self._state == "new":
            raise EngineStateError(f"{method} needs an engine that was started")


def run(handler: EventHandler, *addresses: str, **options: Any) -> None:
    """Serve until the engine is stopped, or SIGINT or SIGTERM comes; a second one ends at once.

    Signals are handled where this is called on the main thread. Raises what `Engine` and
    `Engine.start` raise, and what made a reactor fail. gnet: Run.
    """
    engine = Engine(handler, *addresses, **options)
    requests: SimpleQueue[bool] = SimpleQueue()  # its put may interrupt itself
    with _signals(requests):
        engine.start()
        threading.Thread(
            target=_announce_end, args=(engine, requests), name="ringnet-wait", daemon=True
        ).start()
        stops = 0
        while requests.get():
            engine.request_stop(0 if stops else None)
            stops += 1
        engine.wait()


def _announce_end(engine: Engine, requests: SimpleQueue[bool]) -> None:
    engine._ended.wait()
    requests.put(False)


@contextmanager
def _signals(requests: SimpleQueue[bool]) -> Iterator[None]:
    """Turn the signals that end a program into requests, where that can be done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: FrameType | None) -> None:
        requests.put(True)

    before = {number: signal.signal(number, ask) for number in SIGNALS}
    try:
        yield
    finally:
        for number, action in before.items():
            signal.signal(number, action)


@atexit.register
def _stop_all() -> None:
    """A program that ends with an engine running closes its connections in good order."""
    for engine in list(_live):
        if not engine._ended.is_set():
            engine.stop(timeout=1.0)
