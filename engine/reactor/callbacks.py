"""Calling the handler: its methods, their results, and their exceptions.

The law of this file: an exception in users' code is logged, closes at most its own connection, and
never reaches the loop. This holds for every exception; those that end a program (SystemExit and
KeyboardInterrupt) also stop the engine, and are raised by `run` and `wait`.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any, Final, Protocol

from ..base.action import Action, check_action, split_reply
from ..base.checks import check_seconds
from ..base.logs import EXITS

if TYPE_CHECKING:
    from ..base.logs import Log, ThrottledLog
    from ..connection.connection import Connection
    from .host import Host

FIRST_TICK: Final = 1.0  # seconds to the next tick after one that raised before any had returned


class CallbacksLoop(Protocol):
    """A reactor, as the caller of users' code sees it."""

    log: Log
    throttled: ThrottledLog

    @property
    def engine(self) -> Host: ...
    @property
    def is_stopping(self) -> bool: ...
    def add_timer(self, delay: float, call: Callable[[], object]) -> object: ...
    def break_off(self, conn: Connection, error: BaseException) -> None: ...
    def call_again(self, conn: Connection) -> None: ...


class Callbacks:
    """Calls users' code for a reactor, on its thread."""

    def __init__(self, loop: CallbacksLoop) -> None:
        self._loop = loop
        self._tick_delay = FIRST_TICK  # the delay that on_tick returned last, in seconds

    def guard(self, call: Callable[..., object], *arguments: Any) -> None:
        """Run a call; an exception is logged and has no further effect."""
        try:
            call(*arguments)
        except BaseException as error:
            self.failed("%r: %r raised", self._loop, call, error=error)

    def failed(self, text: str, *arguments: object, error: BaseException) -> None:
        """Log an exception, and stop the engine if it is one that ends a program."""
        kind = type(error)  # `isinstance` may run code of the error's class
        if issubclass(kind, EXITS):
            self._loop.log.info(text + ": %r ends the engine", *arguments, error)
            self._loop.engine.end_with(error)
        else:
            self._loop.throttled.error(text, *arguments, error=error)

    def traffic(self, conn: Connection) -> None:
        """Call `on_traffic` for the bytes that are there."""
        self.call(conn, conn._origin.on_traffic, "on_traffic")

    def tick(self) -> None:
        """Call `on_tick`, and again after the delay it returns, or the last one if it raises."""
        try:
            reply = self._loop.engine.handler.on_tick()
            delay, action = split_reply(reply, (int, float), "on_tick")
            if isinstance(delay, (int, float)):
                delay = check_seconds("the delay of on_tick", max(delay, 0.0), inf)
                self._tick_delay = delay
        except BaseException as error:
            delay, action = self._tick_delay, Action.NONE
            self.failed("%r: on_tick raised; it is called again", self._loop, error=error)
        if isinstance(delay, float) and not self._loop.is_stopping:
            self._loop.add_timer(delay, self.tick)
        if action is Action.SHUTDOWN:
            self._loop.engine.request_stop()

    def on_open(self, conn: Connection) -> None:
        """Call `on_open` for a new connection."""
        try:
            reply = conn._origin.handler.on_open(conn)
            if reply is None:
                return
            data, action = split_reply(reply, bytes, "on_open")
            if isinstance(data, bytes):
                conn.write(data)
            self.act(conn, action)
        except BaseException as error:
            self.handler_failed(conn, "on_open", error)

    def on_writable(self, conn: Connection) -> None:
        """Call `on_writable`: few bytes wait to be sent again."""
        self.call(conn, conn._origin.handler.on_writable, "on_writable")

    def call(
        self, conn: Connection, method: Callable[[Connection], Action | None], name: str
    ) -> None:
        """Call one of the handler's methods, and do what it returns."""
        try:
            action = method(conn)
            if action is not None:
                self.act(conn, check_action(action, name))
        except BaseException as error:
            self.handler_failed(conn, name, error)

    def on_close(self, conn: Connection) -> None:
        """Call `on_close`, and the callbacks of `close`."""
        try:
            reply = conn._origin.handler.on_close(conn, conn._error)
            if reply is not None:
                self.act(conn, check_action(reply, "on_close"))
        except BaseException as error:
            self.failed("%r: on_close raised", conn, error=error)
        for callback in conn._on_closed or ():
            self.guard(callback, conn, conn._error)

    def act(self, conn: Connection, action: Action) -> None:
        """Perform the action that a method of the handler returned."""
        if action is Action.CLOSE:
            conn._finish(None)
        elif action is Action.SHUTDOWN:
            self._loop.engine.request_stop()
        elif action is Action.AGAIN:
            self._loop.call_again(conn)

    def handler_failed(self, conn: Connection, method: str, error: BaseException) -> None:
        """Close a connection whose handler raised."""
        self.failed(f"%r: {method} raised; the connection is closed", conn, error=error)
        try:
            conn._finish(error)
        except BaseException as another:
            self._loop.break_off(conn, another)
