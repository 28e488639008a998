"""The client: connections that we begin. gnet: Client."""

from __future__ import annotations

import errno
import socket
from concurrent.futures import Future
from contextlib import suppress
from threading import TIMEOUT_MAX
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ..base.action import Handler, check_handler
from ..base.errors import ConnectionClosed, EngineStopped
from ..connection.connection import Connection
from ..connection.origin import Origin
from .engine import ClientEngine, Engine

if TYPE_CHECKING:
    from ..base.source import LocalAddress
    from ..connection.owner import LoopFace


ANSWER_GRACE: Final = 1.0  # seconds beyond its timeout in which a reactor answers a dial


class Client:
    """Dials with a handler of its own, on reactors of its own or on those of an engine.

    `Client(handler, **options)` has the options of an engine; `Client(handler, engine=engine)`
    shares the reactors of an engine that runs, whose own handler is not concerned. All methods are
    for any thread, but for those that wait: they raise EngineStateError on a reactor's thread.
    """

    def __init__(self, handler: Handler, *, engine: Engine | None = None, **options: Any) -> None:
        check_handler(handler)
        if engine is not None and options:
            raise TypeError("a client that shares an engine's reactors has that engine's options")
        self._shares = engine is not None
        self.engine = engine or ClientEngine(handler, **options)
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
        if not self.engine.is_forked:
            self.stop()

    def start(self) -> Self:
        """Start its own reactors. Raises as `Engine.start`, and EngineStopped after `stop`.

        gnet: Start.
        """
        if self._origin.is_over:
            raise EngineStopped("this client was stopped: make another")
        if not self._shares:
            self.engine.start()
        self._origin.look_up()
        return self

    def stop(self, timeout: float | None = None) -> bool:
        """Close its connections after what was written is sent, end its dials with
        ConnectionClosed, and stop its own reactors.

        It begins no more connections: `dial`, `register` and `enroll` raise EngineStopped, or on a
        loop's thread, as in `on_close`, put it into the future. Stopping again, or after the
        engine has ended, does nothing. Of shared reactors it does not wait for the end. gnet: Stop.
        """
        self._origin.is_over = True
        if not self._shares:
            return self.engine.stop(timeout)
        self.engine.group.close_all(self._origin)
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
        AddressError, or EngineStopped. Where a handler keeps the reactor from answering, it is
        TimeoutError ANSWER_GRACE seconds later.

        `local_address` is where to connect from, for TCP and UDP: '127.0.0.9' or '[::1]', with a
        port where it matters ('127.0.0.9:5000', or a pair as `socket.getsockname` gives it), and a
        number in any case. Of a name only the addresses of its family are tried.
        gnet: Dial, DialContext.
        """
        self.engine.life.check_may_wait("dial")
        limit = self.engine.options.connect_timeout if timeout is None else timeout
        # Without a variable for the future: its error will refer to this frame.
        return _answer(self.register(address, timeout, context, local_address=local_address), limit)

    def register(
        self,
        address: str,
        timeout: float | None = None,
        context: Any = None,
        loop: LoopFace[Connection] | None = None,
        *,
        local_address: LocalAddress = None,
    ) -> Future[Connection]:
        """`dial` without waiting: the future has the connection or the error.

        On `loop`, an event loop of the engine (None: the one with the fewest connections).
        """
        dial = self.engine.dialer.dial
        return dial(self._origin, address, timeout, context, loop, local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Connection:
        """Take over a connected socket of any kind, and return its connection. gnet: Enroll.

        The socket object is detached from its descriptor. Raises as `Engine.enroll`, EngineStopped,
        and TimeoutError where a handler keeps the reactor from it for `connect_timeout` seconds:
        then it is closed.
        """
        self.engine.life.check_may_wait("enroll")
        limit = self.engine.options.connect_timeout
        return _answer(self.engine.dialer.enroll(self._origin, sock, context), limit)


def _answer(future: Future[Connection], limit: float) -> Connection:
    """What a reactor says, which may have a handler that does not return."""
    try:
        return future.result(min(limit + ANSWER_GRACE, TIMEOUT_MAX))
    except TimeoutError:
        if future.done():
            raise  # it says so itself
        future.add_done_callback(_close)  # nobody is there for it any more
    finally:
        del future  # its error refers to this frame
    text = f"no answer from the reactor in {limit} s: a handler on it does not return"
    raise TimeoutError(errno.ETIMEDOUT, text)


def _close(future: Future[Connection]) -> None:
    if future.exception() is None:
        with suppress(ConnectionClosed):
            future.result().close()
