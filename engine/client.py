"""The client: connections that we begin. gnet: Client."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .connection import Connection
from .handler import EventHandler, check_handler
from .origin import Origin
from .server import Engine

if TYPE_CHECKING:
    from .reactor import Reactor
    from .source import LocalAddress


class Client:
    """Dials with a handler of its own, on reactors of its own or on those of an engine.

    `Client(handler, **options)` has the options of an engine; `Client(handler, engine=engine)`
    shares the reactors of an engine that runs, whose own handler is not concerned. All methods are
    for any thread, but for those that wait: they raise EngineStateError on a reactor's thread.
    """

    def __init__(
        self, handler: EventHandler, *, engine: Engine | None = None, **options: Any
    ) -> None:
        check_handler(handler)
        if engine is not None and options:
            raise TypeError("a client that shares an engine's reactors has that engine's options")
        self._shares = engine is not None
        self.engine = engine or Engine._without_addresses(handler, options)
        self._origin = Origin(handler)

    def __repr__(self) -> str:
        return f"<ringnet.Client on {self.engine!r}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Start its own reactors. Raises as `Engine.start`. gnet: Start."""
        if not self._shares:
            self.engine.start()
        self._origin.look_up()
        return self

    def stop(self, timeout: float | None = None) -> bool:
        """Close its connections after what was written is sent, end its dials with
        ConnectionClosed, and stop its own reactors.

        Of shared reactors it does not wait for the end. gnet: Stop.
        """
        if not self._shares:
            return self.engine.stop(timeout)
        for reactor in self.engine.reactors:
            reactor.execute(lambda loop=reactor: loop.close_all(self._origin))  # type: ignore[misc]
        return True

    def dial(
        self,
        address: str,
        timeout: float | None = None,
        context: Any = None,
        *,
        local_address: LocalAddress = None,
    ) -> Connection:
        """Connect, and return the connection when `on_open` has been called for it.

        Raises within `timeout` seconds (None: the option `connect_timeout`): TimeoutError,
        ConnectionRefusedError, socket.gaierror for a name that is not known, another OSError,
        or AddressError.

        `local_address` is where to connect from, for TCP and UDP: '127.0.0.9' or '[::1]', with a
        port where it matters ('127.0.0.9:5000', or a pair as `socket.getsockname` gives it), and a
        number in any case. Of a name only the addresses of its family are tried.
        gnet: Dial, DialContext.
        """
        self.engine.check_may_wait("dial")
        return self.register(address, timeout, context, local_address=local_address).result()

    def register(
        self,
        address: str,
        timeout: float | None = None,
        context: Any = None,
        loop: Reactor | None = None,
        *,
        local_address: LocalAddress = None,
    ) -> Future[Connection]:
        """`dial` without waiting: the future has the connection or the error.

        On `loop`, an event loop of the engine (None: the one with the fewest connections).
        """
        return self.engine.dial_for(self._origin, address, timeout, context, loop, local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Connection:
        """Take over a connected socket of any kind, and return its connection. gnet: Enroll.

        The socket object is detached from its descriptor. Raises as `Engine.enroll`.
        """
        self.engine.check_may_wait("enroll")
        return self.engine.enroll_for(self._origin, sock, context).result()
