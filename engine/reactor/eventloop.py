"""The event loop as users see it: their own calls, timers and connections on a reactor.

The law of this file: everything is for any thread. Calls from other threads are posted to the
reactor's mailbox.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from ..base.checks import check_call, check_seconds
from ..base.timers import Timer, Timers

if TYPE_CHECKING:
    from ..base.source import LocalAddress
    from ..connection.connection import Connection
    from .callbacks import Callbacks
    from .host import Host
    from .mailbox import Mailbox


class Behind(Protocol):
    """The reactor behind an event loop."""

    ident: int
    number: int
    given: int
    begun: int
    ended: int
    callbacks: Callbacks
    mailbox: Mailbox
    timers: Timers

    @property
    def engine(self) -> Host: ...
    @property
    def is_stopping(self) -> bool: ...


class EventLoop:
    """An event loop of an engine: `conn.loop`, `engine.reactors`.

    Each belongs to one reactor, which runs it on a thread of its own. All methods are for any
    thread. gnet: EventLoop.
    """

    __slots__ = ("__weakref__", "_reactor")

    def __init__(self, reactor: Behind) -> None:
        self._reactor = reactor

    def __repr__(self) -> str:
        return f"<ringnet.EventLoop {self.number} connections={self.load}>"

    def execute(self, call: Callable[[], object]) -> None:
        """Run `call` on this loop's thread soon. From any thread.

        Raises QueueFull, and EngineStopped (a ConnectionClosed) once the loop has ended.
        gnet: Execute.
        """
        self._reactor.mailbox.post(self._reactor.callbacks.guard, check_call(call))

    def schedule(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call` on this loop's thread after `delay` seconds, never earlier. From any thread.

        Returns a timer, which can be cancelled. An exception in `call` is logged. Raises ValueError
        and TypeError. gnet: Schedule.
        """
        seconds = check_seconds("delay", delay)
        return self._reactor.timers.add(
            seconds, partial(self._reactor.callbacks.guard, check_call(call))
        )

    def repeat(self, every: float, call: Callable[[], object]) -> Timer:
        """Run `call` every `every` seconds until the timer is cancelled. From any thread.

        The times do not drift; a run that was missed because the loop was busy is skipped. An
        exception in `call` is logged. Raises ValueError and TypeError.
        """
        if check_seconds("every", every) == 0:
            raise ValueError("every is the seconds between two runs, and must be more than 0")
        return self._reactor.timers.add(
            every, partial(self._reactor.callbacks.guard, check_call(call)), every
        )

    def register(
        self,
        address: str,
        timeout: float | None = None,
        context: Any = None,
        *,
        local_address: LocalAddress = None,
    ) -> Future[Connection]:
        """Connect to an address on this loop, for the engine's handler. From any thread.

        The future gets the connection after `on_open` has been called, or the error: see
        `Client.dial`. gnet: EventLoop.Register.
        """
        engine = self._reactor.engine
        dial = engine.dialer.dial
        return dial(engine.origin, address, timeout, context, self, local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Future[Connection]:
        """Take over a connected socket on this loop: see `Engine.enroll`. From any thread.

        gnet: EventLoop.Enroll.
        """
        engine = self._reactor.engine
        return engine.dialer.enroll(engine.origin, sock, context, self)

    @property
    def number(self) -> int:
        """Its number among the engine's event loops, from 0. From any thread."""
        return self._reactor.number

    @property
    def load(self) -> int:
        """The number of its connections, including those being handed to it. From any thread."""
        reactor = self._reactor
        return reactor.given + reactor.begun - reactor.ended

    @property
    def is_stopping(self) -> bool:
        """Whether the engine is stopping: it accepts no more, and drains. From any thread."""
        return self._reactor.is_stopping

    @property
    def is_current(self) -> bool:
        """Whether the calling thread is this loop's thread."""
        return self._reactor.ident == get_ident()
