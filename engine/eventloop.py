"""What a reactor offers to users: calls, timers and connections of their own. gnet: EventLoop.

The law of this file: all of it is for any thread. What comes from elsewhere is posted to the
reactor's mailbox.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any

from .checks import check_call, check_seconds
from .current import set_current
from .timers import Timer, Timers

if TYPE_CHECKING:
    from .backend import Backend
    from .callbacks import Callbacks
    from .connection import Connection
    from .host import Host
    from .mailbox import Mailbox
    from .options import Options
    from .source import LocalAddress


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
        callbacks: Callbacks
        mailbox: Mailbox
        _timers: Timers

    def execute(self, call: Callable[[], object]) -> None:
        """Run `call` on this loop's thread soon. From any thread.

        Raises QueueFull, and ConnectionClosed once the loop has stopped. gnet: Execute.
        """
        self.mailbox.post(self.callbacks.guard, check_call(call))

    def schedule(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call` on this loop's thread after `delay` seconds, never earlier. From any thread.

        Returns a timer with `cancel()`. An exception of the call is logged. gnet: Schedule.
        """
        seconds = check_seconds("delay", delay)
        return self._timers.add(seconds, partial(self.callbacks.guard, check_call(call)))

    def repeat(self, every: float, call: Callable[[], object]) -> Timer:
        """Run `call` after `every` seconds, and again and again, until `cancel()`. Any thread.

        It does not drift; a run that was missed because the loop was busy is left out.
        """
        if check_seconds("every", every) == 0:
            raise ValueError("every is the seconds between two runs, and more than 0")
        return self._timers.add(every, partial(self.callbacks.guard, check_call(call)), every)

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
        return self.engine.dialer.dial(
            origin, address, timeout, context, self._reactor, local_address
        )

    def enroll(self, sock: socket.socket, context: Any = None) -> Future[Connection]:
        """Take over a connected socket of any kind, on this loop, as `Engine.enroll` does.

        Where the loop is over the socket is closed. From any thread. gnet: EventLoop.Enroll.
        """
        return self.engine.dialer.enroll(self.engine.origin, sock, context, self._reactor)

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
        return self.mailbox.is_posting

    def _be_current(self) -> None:
        """This thread runs the loop from now on."""
        self.ident = get_ident()
        set_current(self)

    @property
    def _reactor(self) -> Any:
        return self
