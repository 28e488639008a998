"""The client: outgoing connections. gnet: Client."""

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


ANSWER_GRACE: Final = 1.0  # seconds beyond the timeout of a dial in which a reactor must answer


class Client:
    """Dials with a handler of its own, on reactors of its own or on those of an engine.

    `Client(handler, **options)` takes the options of an engine; `Client(handler, engine=engine)`
    shares the reactors of a running engine, whose own handler is not involved. All methods are for
    any thread, but those that wait raise EngineStateError on a reactor's thread.
    """

    def __init__(self, handler: Handler, *, engine: Engine | None = None, **options: Any) -> None:
        check_handler(handler)
        if engine is not None and options:
            raise TypeError("a client that shares an engine's reactors uses that engine's options")
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
            raise EngineStopped("this client was stopped: create a new one")
        if not self._shares:
            self.engine.start()
        self._origin.look_up()
        return self

    def stop(self, timeout: float | None = None) -> bool:
        """Close its connections gracefully, end its dials with EngineStopped, and stop its own
        reactors.

        From now on `dial`, `register` and `enroll` raise EngineStopped; on a loop's thread, as in
        `on_close`, the future gets it instead. Stopping again, or after the engine has ended, does
        nothing. Returns whether its reactors have ended, as `Engine.stop`; with shared reactors it
        does not wait, and returns True. gnet: Stop.
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
        """Connect, and return the connection after `on_open` has been called for it.

        Raises within `timeout` seconds (None: the option `connect_timeout`): TimeoutError,
        ConnectionRefusedError, socket.gaierror for an unknown name, another OSError, AddressError,
        or EngineStopped. If a handler blocks the reactor, TimeoutError is raised ANSWER_GRACE
        seconds later.

        `local_address` is the numeric address to connect from, for TCP and UDP: '127.0.0.9' or
        '[::1]', with a port if it matters ('127.0.0.9:5000', or a pair as `socket.getsockname`
        returns it). Only addresses of its family are then tried. gnet: Dial, DialContext.
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
        """`dial` without waiting: the future gets the connection or the error.

        It runs on `loop`, an event loop of the engine (None: the one with the fewest connections).
        """
        dial = self.engine.dialer.dial
        return dial(self._origin, address, timeout, context, loop, local_address)

    def enroll(self, sock: socket.socket, context: Any = None) -> Connection:
        """Take over a connected socket of any kind, and return its connection. gnet: Enroll.

        The socket object is detached from its descriptor. Raises as `Engine.enroll`, EngineStopped,
        and TimeoutError if a handler blocks the reactor for more than `connect_timeout` seconds:
        then the socket is closed.
        """
        self.engine.life.check_may_wait("enroll")
        limit = self.engine.options.connect_timeout
        return _answer(self.engine.dialer.enroll(self._origin, sock, context), limit)


def _answer(future: Future[Connection], limit: float) -> Connection:
    """A reactor's answer; a handler on it may block."""
    try:
        return future.result(min(limit + ANSWER_GRACE, TIMEOUT_MAX))
    except TimeoutError:
        if future.done():
            raise  # the dial itself has timed out
        future.add_done_callback(_close)  # the caller no longer waits for it
    finally:
        del future  # its error refers to this frame
    text = f"no answer from the reactor in {limit} s: a handler is blocking it"
    raise TimeoutError(errno.ETIMEDOUT, text)


def _close(future: Future[Connection]) -> None:
    if future.exception() is None:
        with suppress(ConnectionClosed):
            future.result().close()
