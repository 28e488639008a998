"""The reactors of an engine: how they start, each on its thread, and how they end.

One of them may run on the thread that called `ringnet.run`. It outlives the others, because it
handles the signals.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from ..base.balancer import Balancing
from ..base.errors import ConnectionClosed
from ..base.processes import STOP_GRACE
from ..connection.listener import close_all
from ..reactor.host import Host
from ..reactor.reactor import Reactor

if TYPE_CHECKING:
    from ..base.options import Options
    from ..connection.origin import Origin
    from .ground import Ground


class GroupHost(Host, Protocol):
    """An engine, as its group of reactors sees it."""

    @property
    def ground(self) -> Ground: ...


class Group:
    """Started and stopped by the engine; its properties are for any thread."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.reactors: list[Reactor] = []
        self.balancing: Balancing[Any]
        self.hosted: Reactor | None = None  # the one on the thread that called `run`
        self.failure: BaseException | None = None  # the first one
        self._running = 0
        self._give_up_at = inf  # by monotonic(): until then reactors wait for each other
        self._lock = threading.RLock()  # a signal handler may interrupt the thread that holds it

    # The start

    def start(self, engine: GroupHost, here: bool) -> None:
        """Start all; with `here` the first begins on this thread, which then calls its `serve`."""
        reactors, failure = self._begin_all(engine, here)
        if failure is not None and engine.ground.fall_back(failure):
            reactors, failure = self._begin_all(engine, here)
        if failure is not None:
            raise failure
        try:
            self.take_in(reactors)
            if here:
                self.hosted = reactors[0]
            for reactor in reactors:
                reactor.may_serve.set_result(True)
        except BaseException:
            self._keep_serving(reactors, here)
            raise

    def _begin_all(
        self, engine: GroupHost, here: bool
    ) -> tuple[list[Reactor], BaseException | None]:
        """The reactors with their backends, or the failure; then none is left."""
        reactors = [Reactor(engine, number) for number in range(self._options.reactors)]
        failure: BaseException | None = None
        try:
            for reactor in reactors[1:] if here else reactors:
                reactor.start()
            if here:
                reactors[0].begin()
            failures = [reactor.ready.exception() for reactor in reactors]
            failure = next((error for error in failures if error is not None), None)
        except BaseException:
            self._discard(reactors, here)
            raise
        if failure is not None:
            self._discard(reactors, here)
        return reactors, failure

    @staticmethod
    def _discard(reactors: list[Reactor], here: bool) -> None:
        """End reactors that do not serve; with `here` the first one is on this thread."""
        for reactor in reactors:
            reactor.may_serve.set_result(False)
        if here and reactors and reactors[0].ready.done():
            reactors[0].discard()
        for reactor in reactors:
            reactor.join(STOP_GRACE)

    def _keep_serving(self, reactors: list[Reactor], here: bool) -> None:
        """After an interrupted start: the engine stops those that serve already."""
        serving = [reactor for reactor in reactors if reactor.may_serve.done()]
        others = [reactor for reactor in reactors if not reactor.may_serve.done()]
        self.reactors, self._running = serving, len(serving)
        is_hosted = here and reactors[0] in serving
        self.hosted = reactors[0] if is_hosted else None
        self._discard(others, here and not is_hosted)

    def take_in(self, reactors: list[Reactor]) -> None:
        """Make these reactors, which have begun, the engine's."""
        self.reactors = reactors
        self._running = len(reactors)
        self.balancing = Balancing(self._options.load_balancing, reactors)

    @property
    def capacity(self) -> int:
        """The number of handles of all their backends."""
        return sum(reactor.backend.capacity for reactor in self.reactors)

    def listen(self, origin: Origin) -> None:
        """Have a listener served, by one reactor or by each."""
        assert origin.listener is not None
        fds: list[int] = []
        try:
            fds += origin.listener.descriptors()
            for reactor in self.reactors[: len(fds)]:
                with suppress(ConnectionClosed):  # it was stopped, and has ended already
                    reactor.post_own(reactor.listen, fds[-1], origin)
                    fds.pop()  # the reactor owns it now
        finally:
            close_all(fds)

    def tick(self) -> None:
        """Start `on_tick`, on the first reactor."""
        first = self.reactors[0]
        with suppress(ConnectionClosed):
            first.post_own(first.callbacks.tick)

    # The end

    def stop(self, limit: float) -> None:
        """Tell all to end within `limit` seconds."""
        for reactor in self.reactors:
            with suppress(ConnectionClosed):  # it has ended already
                reactor.post_own(reactor.stop, limit)

    def close_all(self, origin: Origin) -> None:
        """End the connections of an origin, and its dials."""
        for reactor in self.reactors:
            with suppress(ConnectionClosed):  # it has ended, and its connections with it
                reactor.post_own(reactor.stopping.close_all, origin)

    def limit_patience(self, seconds: float) -> None:
        """After this time, reactors that are done no longer wait for the others."""
        at = monotonic() + seconds
        if at >= self._give_up_at:
            return  # they will check before then
        self._give_up_at = at
        for reactor in self.reactors:
            with suppress(ConnectionClosed):
                reactor.post_own(reactor.add_timer, seconds, _wake_only)

    @property
    def is_given_up(self) -> bool:
        """Whether that time has passed."""
        return monotonic() > self._give_up_at

    def needs(self, reactor: Reactor, still_accepts: bool) -> bool:
        """Whether it may not end yet: it may get a connection from another, or signals."""
        is_needed = still_accepts or (reactor is self.hosted and self._running > 1)
        return is_needed and monotonic() < self._give_up_at

    def note_failure(self, failure: BaseException | None) -> None:
        """Note why the engine ends, for `wait` to raise. The first failure counts."""
        with self._lock:
            self.failure = failure if self.failure is None else self.failure

    def raise_failure(self) -> None:
        """Raise the failure that ended the engine, if there is one."""
        if self.failure is not None:
            raise self.failure

    def note_end(self, failure: BaseException | None) -> bool:
        """A reactor has ended; returns whether it was the last."""
        with self._lock:
            self._running -= 1
            left = self._running
            self.note_failure(failure)
        return left == 0

    def join(self) -> None:
        """Wait for the threads, which are about to end."""
        deadline = monotonic() + STOP_GRACE
        for reactor in self.reactors:
            reactor.join(max(0.0, deadline - monotonic()))

    def wake_all(self) -> None:
        """Wake all: one reactor could not wake another directly."""
        for reactor in self.reactors:
            reactor.wake_up()

    def after_fork(self) -> None:
        """In a forked child, which does not have their threads."""
        for reactor in self.reactors:
            reactor.after_fork()

    # The calling thread

    @property
    def runs_here(self) -> bool:
        """Whether the calling thread is a reactor's."""
        return any(reactor.face.is_current for reactor in self.reactors)

    @property
    def is_posting_here(self) -> bool:
        """Whether the calling thread was interrupted while posting, and a reactor waits for it."""
        return any(reactor.mailbox.is_posting for reactor in self.reactors)


def _wake_only() -> None:
    """Does nothing: a loop that wakes checks whether it may end."""
