"""The acceptor: a reactor's listeners, and where their new connections go.

The law of this file: running out of descriptors, of memory, or of room for connections never stops
the engine. New connections are closed or wait, with a rate-limited line in the log, and accepting
continues by itself as soon as it can. (A newcomer is an accepted socket that no reactor owns yet.)
"""

from __future__ import annotations

import errno
import os
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from ...completion import ACCEPTED, NOW, STALLED
from ..base.errors import ConnectionClosed, QueueFull
from ..base.sockets import borrowed, close_descriptor
from .free_handles import HasHandles

if TYPE_CHECKING:
    from ..base.contract import Backend
    from ..base.logs import Log, ThrottledLog
    from ..base.options import Options
    from ..connection.origin import Origin
    from .host import Host
    from .streams import Streams

REST = 0.1  # seconds between tries while memory is exhausted
_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class AcceptorLoop(HasHandles, Protocol):
    """A reactor, as its acceptor and those of others see it."""

    backend: Backend
    options: Options
    log: Log
    throttled: ThrottledLog
    begun: int
    given: int

    @property
    def engine(self) -> Host: ...
    @property
    def is_stopping(self) -> bool: ...
    def add_timer(self, delay: float, call: Callable[[], object]) -> object: ...
    def failed(self, text: str, *arguments: object, error: BaseException) -> None: ...
    @property
    def streams(self) -> Streams: ...
    def hand(self, giver: Any, call: Callable[..., object], *arguments: Any) -> None: ...


class Acceptor:
    """On the reactor's thread."""

    def __init__(self, reactor: AcceptorLoop) -> None:
        self._reactor = reactor
        self._listeners: dict[int, Origin] = {}
        # A descriptor that is closed when there are no others, so that newcomers can be accepted
        # and closed: otherwise they would wait for an answer that never comes.
        self._reserve = -1
        self._is_short = False  # the reserve is closed
        self._has_freed = False  # and its descriptor is free again, for the next newcomer
        self._waiting: deque[tuple[int, Origin]] = deque()  # newcomers beyond max_connections
        self._is_resting = False
        self._newcomer = -1  # the one being handled
        self.turned_away = 0  # newcomers that were closed for lack of a descriptor or of room

    @property
    def is_open(self) -> bool:
        """Whether there is a listener that has not had its final event."""
        return bool(self._listeners)

    def listen(self, fd: int, origin: Origin) -> None:
        """Accept from a listening descriptor, which the reactor owns unless this raises."""
        handle = self._reactor.take_handle()
        if handle is None:
            raise AssertionError("a backend has more slots than connections and listeners need")
        try:
            self._listeners[handle] = origin
            self._reactor.owners[handle] = self
            self._reactor.backend.listen(handle, fd)
        except BaseException:
            self._listeners.pop(handle, None)
            self._reactor.owners.pop(handle, None)
            self._reactor.give_back_handle(handle)
            raise
        if len(self._listeners) == 1:
            self._reserve = _spare()
        self._reactor.engine.budget.note_accepting(self._reactor, True)

    def close(self, mode: int) -> None:
        """Stop accepting. GRACEFUL still serves connections that are already accepted."""
        for handle in self._listeners:
            self._reactor.backend.close(handle, mode)
        while self._waiting:
            self._turn_away(self._waiting.popleft()[0])

    def on_accepted(self, handle: int, fd: int, b: int) -> None:
        """A newcomer: it is served, waits, or is closed."""
        self._newcomer = fd
        if self._is_short and not self._recover():
            self._turn_away(fd)
            self._has_freed = True
        elif not self._is_full():
            self._give(fd, self._listeners[handle])
        elif self._reactor.options.at_max_connections == "wait" and not self._reactor.is_stopping:
            self._keep_waiting(fd, self._listeners[handle])
        else:
            self._turn_away(fd)
            self._log_full("new connections are closed")

    def _keep_waiting(self, fd: int, origin: Origin) -> None:
        self._waiting.append((fd, origin))
        self._newcomer = -1
        self._rest()

    def _turn_away(self, fd: int) -> None:
        self._newcomer = -1
        close_descriptor(fd)
        self.turned_away += 1

    def on_lost(self, handle: int, kind: int, error: BaseException) -> None:
        """An event could not be handled for lack of memory."""
        if kind == ACCEPTED and self._newcomer >= 0:
            self._turn_away(self._newcomer)
        elif kind == STALLED:
            self._reactor.backend.resume(handle)  # it stalls again if the cause persists

    # Which reactor gets it

    def _give(self, fd: int, origin: Origin) -> None:
        assert origin.listener is not None
        has_choice = self._reactor.engine.group.balancing.has_choice
        keeps = not has_choice or origin.listener.has_one_for_each
        target = self._reactor if keeps else self._pick(fd)
        if target is self._reactor:
            target.begun += 1  # each counter has one writer
            self._newcomer = -1
            target.streams.open(fd, origin)
        else:
            self._hand_over(target, fd, origin)

    def _pick(self, fd: int) -> AcceptorLoop:
        balancing = self._reactor.engine.group.balancing
        try:
            picked: AcceptorLoop = balancing.pick(_peer(fd) if balancing.needs_address else None)
            return picked
        except BaseException as error:
            text = "%r: load_balancing raised; the acceptor keeps the connection"
            self._reactor.failed(text, self._reactor, error=error)
            return self._reactor

    def _hand_over(self, target: AcceptorLoop, fd: int, origin: Origin) -> None:
        target.given += 1  # only one reactor has listeners whose connections are handed over
        try:
            target.hand(self._reactor, target.streams.open, fd, origin)
            self._newcomer = -1
        except (ConnectionClosed, QueueFull, MemoryError) as error:
            target.given -= 1
            self._turn_away(fd)
            self._reactor.throttled.warning(
                "a new connection was closed: %s", error, why=type(error).__name__
            )

    # max_connections

    def _is_full(self) -> bool:
        return self._reactor.engine.budget.is_full

    def _log_full(self, what: str) -> None:
        engine, reactor = self._reactor.engine, self._reactor
        count = engine.budget.max_connections
        bound = "max_connections"
        if count < reactor.options.max_connections:
            bound = f"{reactor.backend.name} has room for no more"
        text = "%s: %d connections are open (%s): %s"
        reactor.throttled.warning(text, engine, count, bound, what, why=what)

    def _rest(self) -> None:
        """Stop accepting until a connection has ended."""
        if self._is_resting:
            return
        self._is_resting = True
        self._log_full("new connections wait")
        for handle in self._listeners:
            self._reactor.backend.pause(handle)
        self._reactor.engine.budget.note_resting(self._reactor, True)
        self.admit_waiting()  # one may have ended just before

    def admit_waiting(self) -> None:
        """A connection has ended: serve newcomers that wait, then accept again."""
        while self._waiting and not self._is_full():
            self._give(*self._waiting.popleft())
        if self._is_resting and not self._waiting and not self._is_full():
            self._is_resting = False
            self._reactor.engine.budget.note_resting(self._reactor, False)
            for handle in self._listeners:
                self._resume(handle)

    def _resume(self, handle: int) -> None:
        """Accept again, unless it rests for another reason: then `admit_waiting` does it."""
        if not self._is_resting:
            self._reactor.backend.resume(handle)

    # Out of descriptors or memory

    def on_stalled(self, handle: int, result: int, b: int) -> None:
        """No descriptor or memory for a newcomer."""
        if self._has_freed:
            self._has_freed = False
            self._resume(handle)
            return
        if -result in _DESCRIPTORS and self._reserve >= 0:
            why = os.strerror(-result)
            self._reactor.throttled.warning("new connections are closed: %s", why, why=why)
            os.close(self._reserve)
            self._reserve = -1
            self._is_short = True
            self._resume(handle)
            return
        why = os.strerror(-result)
        self._reactor.throttled.warning("accepting pauses for %s s: %s", REST, why, why=why)
        self._reactor.add_timer(REST, lambda: self._resume(handle))

    def _recover(self) -> bool:
        """Reopen the reserve; returns whether there are enough descriptors again."""
        self._reserve = _spare()
        self._is_short = self._reserve < 0
        return not self._is_short

    # The end

    def on_error(self, handle: int, result: int) -> None:
        """The listener itself has failed."""
        self._reactor.log.error("a listener has failed: %s", os.strerror(-result))
        self._reactor.backend.close(handle, NOW)

    def on_closed(self, handle: int) -> None:
        """The final event of a listener."""
        del self._listeners[handle]
        if not self._listeners:
            self.give_up()

    def give_up(self) -> None:
        """Accepting is over, gracefully or because the backend has failed."""
        while self._waiting:
            self._turn_away(self._waiting.popleft()[0])
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
        self._reactor.engine.budget.note_resting(self._reactor, False)
        self._reactor.engine.budget.note_accepting(self._reactor, False)


def _spare() -> int:
    """A descriptor to keep in reserve, or -1 if there is none left."""
    with suppress(OSError):
        return os.open(os.devnull, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    return -1


def _peer(fd: int) -> Any:
    """The newcomer's address; None if it has gone already."""
    try:
        with borrowed(fd) as sock:
            return sock.getpeername() if sock.family != getattr(socket, "AF_UNIX", -1) else ""
    except OSError:
        return None
