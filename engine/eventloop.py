"""What a reactor offers to users: calls, timers and connections of their own. gnet: EventLoop.

The law of this file: all of it is for any thread. What comes from elsewhere is posted to a bounded
queue, and the reactor is woken at most once until it has looked.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from .checks import check_call, check_seconds
from .current import set_current
from .errors import ConnectionClosed, EngineStateError, QueueFull
from .timers import Timer, Timers

if TYPE_CHECKING:
    from threading import RLock

    from .backend import Backend
    from .connection import Connection
    from .host import Host
    from .options import Options
    from .source import LocalAddress


class HasBackend(Protocol):
    """Another reactor, as it wakes this one."""

    backend: Backend


class EventLoop:
    """The part of a reactor that is for any thread."""

    if TYPE_CHECKING:  # what Reactor has
        backend: Backend
        begun: int
        connections: dict[int, Connection]
        ended: int
        engine: Host
        given: int
        ident: int
        options: Options
        _accepts_calls: bool
        _foreign: list[tuple[Callable[..., object], tuple[Any, ...]]]
        _foreign_lock: RLock
        _is_woken_later: bool
        _timers: Timers

        def guard(self, call: Callable[..., object], *arguments: Any) -> None: ...

    def execute(self, call: Callable[[], object]) -> None:
        """Run `call` on this loop's thread soon. From any thread.

        Raises QueueFull, and ConnectionClosed once the loop has stopped. gnet: Execute.
        """
        self.post(self.guard, check_call(call))

    def schedule(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call` on this loop's thread after `delay` seconds, never earlier. From any thread.

        Returns a timer with `cancel()`. An exception of the call is logged. gnet: Schedule.
        """
        seconds = check_seconds("delay", delay)
        return self._timers.add(seconds, partial(self.guard, check_call(call)))

    def repeat(self, every: float, call: Callable[[], object]) -> Timer:
        """Run `call` after `every` seconds, and again and again, until `cancel()`. Any thread.

        It does not drift; a run that was missed because the loop was busy is left out.
        """
        if check_seconds("every", every) == 0:
            raise ValueError("every is the seconds between two runs, and more than 0")
        return self._timers.add(every, partial(self.guard, check_call(call)), every)

    def register(
        self,
        address: str,
        timeout: float | None = None,
        context: Any = None,
        *,
        local_address: LocalAddress = None,
    ) -> Future[Connection]:
        """Connect to an address, on this loop; for the engine's handler. From any thread.

        The future has the connection when `on_open` has been called, or the error: see
        `Client.dial`. gnet: EventLoop.Register.
        """
        origin = self.engine.origin
        return self.engine.dial_for(origin, address, timeout, context, self._reactor, local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Future[Connection]:
        """Take over a connected socket of any kind, on this loop. From any thread.

        gnet: EventLoop.Enroll.
        """
        return self.engine.enroll_for(self.engine.origin, sock, context, self._reactor)

    @property
    def load(self) -> int:
        """Connections it has, with those on their way to it. From any thread."""
        return self.given + self.begun - self.ended

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this loop's thread."""
        return self.ident == get_ident()

    @property
    def is_posting(self) -> bool:
        """Whether the caller has interrupted this thread in `post`, and holds the loop up."""
        try:
            threading.Condition(self._foreign_lock).notify()  # raises unless it is held here
        except RuntimeError:
            return False
        return True

    def hand(self, giver: HasBackend, call: Callable[..., object], *arguments: Any) -> None:
        """`post`, on the thread of another reactor, which wakes this one at the end of its turn."""
        with self._foreign_lock:
            if self._queue(call, arguments):
                self._is_woken_later = True  # who posts meanwhile does not wait for that
                try:
                    giver.backend.wake_other(self.backend)
                except MemoryError:  # the call is in the queue already
                    self.backend.wake()

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have a call made on the loop's thread; calls of one thread keep their order."""
        with self._foreign_lock:
            if self._queue(call, arguments) or self._is_woken_later:
                self._is_woken_later = False
                self.backend.wake()

    def post_own(self, call: Callable[..., object], *arguments: Any) -> None:
        """`post` for the few calls of the engine itself, which a full queue may not hold up."""
        with self._foreign_lock:
            if self._queue(call, arguments, is_bounded=False) or self._is_woken_later:
                self._is_woken_later = False
                self.backend.wake()

    def wake_up(self) -> None:
        """Have the loop look at its calls, if it is still there. From any thread."""
        with self._foreign_lock:
            if self._accepts_calls:
                self.backend.wake()

    def _queue(
        self, call: Callable[..., object], arguments: tuple[Any, ...], is_bounded: bool = True
    ) -> bool:
        """Whether nobody has woken the loop for an earlier call."""
        if not self._accepts_calls:
            if self.engine.is_forked:
                raise EngineStateError("this engine belongs to the process that was forked")
            raise ConnectionClosed("the engine has stopped: its reactors take no more calls")
        if is_bounded and len(self._foreign) >= self.options.max_foreign_calls:
            raise QueueFull(
                f"{len(self._foreign)} calls wait for {self!r} already "
                f"(max_foreign_calls={self.options.max_foreign_calls})"
            )
        # Asked before: a handler of a signal may post between two steps of this.
        is_first = not self._foreign
        self._foreign.append((call, arguments))
        return is_first

    def _be_current(self) -> None:
        """This thread runs the loop from now on."""
        self.ident = get_ident()
        set_current(self)

    @property
    def _reactor(self) -> Any:
        return self
