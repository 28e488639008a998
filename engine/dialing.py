"""Connections that an engine begins, or takes over. gnet: Engine.Register, Client.

All of it is for any thread; the result comes in a future.
"""

from __future__ import annotations

import socket
from concurrent.futures import Future
from math import inf
from typing import TYPE_CHECKING, Any, cast

from .address import parse_address
from .checks import check_seconds
from .connection import Connection
from .current import current_loop
from .dial import Dial
from .enrolling import check_socket, enroll
from .errors import AddressError, ConnectionClosed, EngineStateError, EngineStopped, shown
from .options import Options
from .origin import Origin
from .source import LocalAddress, parse_source

if TYPE_CHECKING:
    from .owner import LoopFace
    from .reactor import Reactor


class Dialing:
    """The part of an engine that begins connections."""

    if TYPE_CHECKING:  # what Engine has
        options: Options
        origin: Origin
        _reactors: list[Reactor]

        def validate(self) -> None: ...

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
        return self.dial_for(self.origin, address, timeout, context, local_address=local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Future[Connection]:
        """Take over a connected socket: TCP, UDP or Unix. The object is detached from its
        descriptor, and the options of the engine are set on it.

        Raises TypeError for what is no plain socket (an SSLSocket is none), OSError where it is not
        connected, listens, is closed, of another kind or enrolled already, and QueueFull: then it
        stays the caller's. The future has the connection, or why there is none; then, and where
        the engine has ended meanwhile, the socket is closed. From any thread. gnet:
        Engine.Register.
        """
        return self.enroll_for(self.origin, sock, context)

    def dial_for(
        self,
        origin: Origin,
        address: str,
        timeout: float | None,
        context: Any,
        reactor: LoopFace[Any] | None = None,
        local_address: LocalAddress = None,
    ) -> Future[Connection]:
        """`register` for one of the engine's clients."""
        limit = self.options.connect_timeout
        if timeout is not None:
            limit = _checked(timeout)
        parsed = parse_address(address)
        if parsed.is_inherited:
            raise AddressError(f"{address!r} is for listening: enroll a connected socket instead")
        source = parse_source(local_address, parsed)
        try:
            loop = self._chosen_loop(origin, reactor)
            dial = Dial(loop, origin, parsed, limit, context, source)
            loop.post(dial.begin)
        except ConnectionClosed as error:
            return _too_late(error)
        return dial.future

    def enroll_for(
        self,
        origin: Origin,
        sock: socket.socket,
        context: Any,
        reactor: LoopFace[Any] | None = None,
    ) -> Future[Connection]:
        """`enroll` for one of the engine's clients."""
        check_socket(sock)
        try:
            return enroll(self._chosen_loop(origin, reactor), origin, sock, context)
        except ConnectionClosed as error:
            return _too_late(error)

    def _chosen_loop(self, origin: Origin, reactor: LoopFace[Any] | None) -> Reactor:
        """The one that was asked for, or the one with the fewest connections."""
        if reactor is not None and getattr(reactor, "engine", None) is not self:
            raise TypeError(f"loop is an event loop of {self!r}, not {shown(reactor)}")
        if origin.is_over:
            raise EngineStopped("the client has stopped: make another")
        if reactor is not None:
            return cast("Reactor", reactor)
        self.validate()
        if not self._reactors:
            raise EngineStateError(
                "no reactor runs in on_boot: connect in a handler, or after start"
            )
        return min(self._reactors, key=lambda reactor: reactor.load)


def _too_late(error: ConnectionClosed) -> Future[Connection]:
    """Nothing begins any more. A caller on a loop, such as `on_close` or a timer while the engine
    drains, could not know: the future has the error. Elsewhere it is raised."""
    if current_loop() is None:
        raise error
    future: Future[Connection] = Future()
    future.set_exception(error.with_traceback(None))  # whose frames would be a cycle
    return future


def _checked(timeout: float) -> float:
    """Raise TypeError or ValueError unless it is a time to connect in."""
    if isinstance(timeout, (int, float)) and timeout <= 0:
        raise ValueError(
            "timeout is more than 0 seconds, or None for the option connect_timeout, "
            f"not {shown(timeout)}"
        )
    return check_seconds("timeout", timeout, inf)
