"""The reactors of an engine: how they start, each on its thread, and how they end.

One of them may be hosted by the thread that called `ringnet.run`. It outlives the others, because
it heeds the signals.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING

from .balancer import Balancing
from .errors import ConnectionClosed, EngineStateError
from .processes import STOP_GRACE
from .reactor import Reactor

if TYPE_CHECKING:
    from .host import Host
    from .listener import Listener
    from .options import Options


class ReactorGroup:
    """The part of an engine that starts its reactors and sees them end."""

    if TYPE_CHECKING:  # what Engine has
        options: Options
        _listeners: list[Listener]
        _starter: int
        _state: str

        @property
        def still_accepts(self) -> bool: ...
        def _finish(self) -> None: ...
        def request_stop(self, timeout: float | None = None) -> None: ...

    def __init__(self) -> None:
        super().__init__()
        self.balancing: Balancing[Reactor]
        self.max_connections = 0  # as many as the option says, or less where the system does
        self._reactors: list[Reactor] = []
        self._host: Reactor | None = None  # runs on the thread that asked for the engine
        self._running = 0
        self._state_lock = threading.RLock()  # a handler of a signal may interrupt who holds it
        self._give_up_at = inf  # by monotonic(): until then reactors wait for each other
        self._failure: BaseException | None = None

    def _start_reactors(self, engine: Host, here: bool) -> None:
        """Start all; with `here` the first begins on this thread, which is to call its `serve`."""
        reactors, failure = self._begin_reactors(engine, here)
        if failure is not None and engine.fall_back(failure):
            reactors, failure = self._begin_reactors(engine, here)
        if failure is not None:
            raise failure
        self._reactors = reactors
        self._running = len(reactors)
        if here:
            self._host = reactors[0]
        for reactor in reactors:
            reactor.may_serve.set_result(True)
        # Listeners need handles as well, and so does what brings the signals.
        room = sum(reactor.backend.capacity for reactor in reactors) - len(self._listeners) - 1
        self.max_connections = min(self.options.max_connections, room)
        self.balancing = Balancing(self.options.load_balancing, reactors)

    def _begin_reactors(
        self, engine: Host, here: bool
    ) -> tuple[list[Reactor], BaseException | None]:
        """All of them with their backends, or what has failed; then none is left."""
        reactors = [Reactor(engine, number) for number in range(self.options.reactors)]
        for reactor in reactors[1:] if here else reactors:
            reactor.start()
        if here:
            reactors[0].begin()
        failures = [reactor.ready.exception() for reactor in reactors]
        failure = next((error for error in failures if error is not None), None)
        if failure is not None:
            for reactor in reactors:
                reactor.may_serve.set_result(False)
            if here:
                reactors[0].discard()
            for reactor in reactors:
                reactor.join(STOP_GRACE)
        return reactors, failure

    def _end_reactors(self) -> None:
        """End those that have begun, when the start has failed."""
        self.request_stop(0)
        if self._host is not None:
            self._host.serve()
        self._join_reactors()

    def _join_reactors(self) -> None:
        """Wait for the threads, which have nothing more to do but to end."""
        deadline = monotonic() + STOP_GRACE
        for reactor in self._reactors:
            reactor.join(max(0.0, deadline - monotonic()))

    # For the reactors

    def wake_all(self) -> None:
        """One reactor could not wake another in the cheap way."""
        for reactor in self._reactors:
            reactor.wake_up()

    def needs(self, reactor: Reactor) -> bool:
        """Whether it may not end yet: another may hand it a newcomer, or signals may come."""
        is_needed = self.still_accepts or (reactor is self._host and self._running > 1)
        return is_needed and monotonic() < self._give_up_at

    def _limit_patience(self, seconds: float) -> None:
        """Reactors that have ended by then do not wait for the others."""
        at = monotonic() + seconds
        if at >= self._give_up_at:
            return  # they look before then
        self._give_up_at = at
        for reactor in self._reactors:
            with suppress(ConnectionClosed):
                reactor.post_own(reactor.add_timer, seconds, _look_again)

    def reactor_ended(self, reactor: Reactor, failure: BaseException | None) -> None:
        """The last word of a reactor, on its thread. A failed one ends the whole engine."""
        with self._state_lock:
            self._running -= 1
            left = self._running
            self._failure = failure if self._failure is None else self._failure
        try:
            if failure is not None:
                self.request_stop(0)
        finally:
            if left == 0:
                self._finish()
            elif self._host is not None:
                self._host.wake_up()  # it may be the last one now

    def end_with(self, wish: BaseException) -> None:
        """A user's code has raised what ends a program (EXITS): stop, and have `wait` raise it.

        In good order for SystemExit; KeyboardInterrupt means that nobody wants to wait.
        """
        with self._state_lock:
            self._failure = wish if self._failure is None else self._failure
        self.request_stop(0 if isinstance(wish, KeyboardInterrupt) else None)

    # Who may wait for them

    def _is_reactor_thread(self) -> bool:
        return any(reactor.is_current for reactor in self._reactors)

    def _holds_one_up(self) -> bool:
        """Whether this thread was interrupted while a reactor waits for it."""
        return any(reactor.is_posting for reactor in self._reactors)

    def check_may_wait(self, method: str) -> None:
        """Raise EngineStateError where waiting for the engine would be for ever."""
        if self._holds_one_up():
            raise EngineStateError(
                f"{method} in a signal's handler would wait for what it interrupts"
            )
        if self._is_reactor_thread():
            raise EngineStateError(f"{method} on a reactor's thread would wait for itself")
        if self._starter == threading.get_ident():
            raise EngineStateError(f"{method} in on_boot would wait for what comes after it")
        if self._state == "new":
            raise EngineStateError(f"{method} needs reactors that run: call start() first")


def _look_again() -> None:
    """A loop that wakes looks whether it may end."""
