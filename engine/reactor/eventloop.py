"""What a reactor offers to users: calls, timers and connections of their own.

The law of this file: all of it is for any thread. What comes from elsewhere is posted to the
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
from .timers import Timer, Timers

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
    """An event loop of an engine, as users have it: `conn.loop`, `engine.reactors`.

    It is one reactor's, which runs it on a thread of its own. All methods are for any thread.
    gnet: EventLoop.
    """

    __slots__ = ("__weakref__", "_reactor")

    def __init__(self, reactor: Behind) -> None:
        self._reactor = reactor

    def __repr__(self) -> str:
        return f"<ringnet.EventLoop {self.number} connections={self.load}>"

    def execute(self, call: Callable[[], object]) -> None:
        """Run `call` on this loop's thread soon. From any thread.

        Raises QueueFull, and ConnectionClosed once the loop has stopped. gnet: Execute.
        """
        self._reactor.mailbox.post(self._reactor.callbacks.guard, check_call(call))

    def schedule(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call` on this loop's thread after `delay` seconds, never earlier. From any thread.

        Returns a timer with `cancel()`. An exception of the call is logged. gnet: Schedule.
        """
        seconds = check_seconds("delay", delay)
        return self._reactor.timers.add(
            seconds, partial(self._reactor.callbacks.guard, check_call(call))
        )

    def repeat(self, every: float, call: Callable[[], object]) -> Timer:
        """Run `call` after `every` seconds, and again and again, until `cancel()`. Any thread.

        It does not drift; a run that was missed because the loop was busy is left out.
        """
        if check_seconds("every", every) == 0:
            raise ValueError("every is the seconds between two runs, and more than 0")
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
        """Connect to an address, on this loop; for the engine's handler. From any thread.

        The future has the connection when `on_open` has been called, or the error: see
        `Client.dial`. gnet: EventLoop.Register.
        """
        engine = self._reactor.engine
        dial = engine.dialer.dial
        return dial(engine.origin, address, timeout, context, self, local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Future[Connection]:
        """Take over a connected socket of any kind, on this loop, as `Engine.enroll` does.

        Where the loop is over the socket is closed. From any thread. gnet: EventLoop.Enroll.
        """
        engine = self._reactor.engine
        return engine.dialer.enroll(engine.origin, sock, context, self)

    @property
    def number(self) -> int:
        """Which of the engine's it is: 0 is the first. From any thread."""
        return self._reactor.number

    @property
    def load(self) -> int:
        """Connections it has, with those on their way to it. From any thread."""
        reactor = self._reactor
        return reactor.given + reactor.begun - reactor.ended

    @property
    def is_stopping(self) -> bool:
        """Whether the engine drains: it accepts no more, and ends what is there. Any thread."""
        return self._reactor.is_stopping

    @property
    def is_current(self) -> bool:
        """Whether the caller runs on this loop's thread."""
        return self._reactor.ident == get_ident()
