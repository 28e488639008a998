"""The dialer: connections that an engine starts or takes over, for itself and its clients.

Everything is for any thread; the result comes in a future. gnet: Engine.Register, Client.
"""

from __future__ import annotations

import socket
from concurrent.futures import Future
from math import inf
from typing import TYPE_CHECKING, Any, Protocol

from ..base.address import parse_address
from ..base.checks import check_seconds
from ..base.current import current_loop
from ..base.errors import AddressError, ConnectionClosed, EngineStateError, EngineStopped, shown
from ..base.options import Options
from ..base.source import LocalAddress, parse_source
from ..connection.connection import Connection
from ..connection.origin import Origin
from ..reactor.dial import Dial
from ..reactor.enrolling import check_socket, enroll

if TYPE_CHECKING:
    from ..connection.owner import LoopFace
    from ..reactor.reactor import Reactor


class Dialing(Protocol):
    """The reactors that dial."""

    reactors: list[Reactor]


class DialingEngine(Protocol):
    """An engine, as its dialer sees it."""

    options: Options

    @property
    def group(self) -> Dialing: ...
    def validate(self) -> None: ...


class Dialer:
    """For any thread."""

    def __init__(self, engine: DialingEngine) -> None:
        self._engine = engine

    def dial(
        self,
        origin: Origin,
        address: str,
        timeout: float | None,
        context: Any,
        loop: LoopFace[Any] | None = None,
        local_address: LocalAddress = None,
    ) -> Future[Connection]:
        """Connect to an address: see `Engine.register`."""
        limit = self._engine.options.connect_timeout
        if timeout is not None:
            limit = _checked(timeout)
        parsed = parse_address(address)
        if parsed.is_inherited:
            raise AddressError(f"{address!r} is for listening only: enroll a connected socket")
        source = parse_source(local_address, parsed)
        try:
            reactor = self._chosen(origin, loop)
            dial = Dial(reactor, origin, parsed, limit, context, source)
            reactor.post(dial.begin)
        except ConnectionClosed as error:
            return _too_late(error)
        return dial.future

    def enroll(
        self,
        origin: Origin,
        sock: socket.socket,
        context: Any,
        loop: LoopFace[Any] | None = None,
    ) -> Future[Connection]:
        """Take over a connected socket: see `Engine.enroll`."""
        check_socket(sock)
        try:
            return enroll(self._chosen(origin, loop), origin, sock, context)
        except ConnectionClosed as error:
            return _too_late(error)

    def _chosen(self, origin: Origin, loop: LoopFace[Any] | None) -> Reactor:
        """The reactor of the loop, or the one with the fewest connections."""
        reactors = self._engine.group.reactors
        if loop is not None:
            reactors = [reactor for reactor in reactors if reactor.face is loop]
            if not reactors:
                raise TypeError(
                    f"loop must be an event loop of {self._engine!r}, not {shown(loop)}"
                )
        if origin.is_over:
            raise EngineStopped("the client has stopped: create a new one")
        if loop is not None:
            return reactors[0]
        self._engine.validate()
        if not reactors:
            raise EngineStateError(
                "no reactor is running in on_boot: connect in a handler, or after start"
            )
        return min(reactors, key=lambda reactor: reactor.face.load)


def _too_late(error: ConnectionClosed) -> Future[Connection]:
    """The engine or client has stopped. A caller on a loop, such as `on_close` or a timer while the
    engine drains, could not know: the future gets the error. Elsewhere it is raised."""
    if current_loop() is None:
        raise error
    future: Future[Connection] = Future()
    future.set_exception(error.with_traceback(None))  # its frames would form a cycle
    return future


def _checked(timeout: float) -> float:
    """Raise TypeError or ValueError unless it is a timeout for connecting."""
    if isinstance(timeout, (int, float)) and timeout <= 0:
        raise ValueError(
            "timeout must be more than 0 seconds, or None for the option connect_timeout, "
            f"not {shown(timeout)}"
        )
    return check_seconds("timeout", timeout, inf)
