"""Calling the handler: each of its methods, what it returns, and what it raises.

The law of this file: an exception of a user's code is logged, closes at most its own connection,
and never reaches the loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from .eventloop import check_seconds
from .handler import Action, check_action, split_reply

if TYPE_CHECKING:
    from .connection import Connection
    from .server import Engine
    from .timers import Timers


class Callbacks:
    """The part of a reactor that calls users' code, on its thread."""

    if TYPE_CHECKING:  # what Reactor has
        engine: Engine
        log: logging.Logger
        _stopping: bool
        _timers: Timers

        def call_again(self, conn: Connection) -> None: ...

    def guard(self, call: Callable[..., object], *arguments: Any) -> None:
        """Run a user's call; an exception is logged and harms nothing else."""
        try:
            call(*arguments)
        except Exception:
            self.log.exception("%r: %r raised", self, call)

    def traffic(self, conn: Connection) -> None:
        """Call `on_traffic` for what there is."""
        self._call(conn, conn._origin.on_traffic, "on_traffic")

    def tick(self) -> None:
        """Call `on_tick`, and again after the seconds it returns."""
        try:
            reply = self.engine.handler.on_tick()
            delay, action = split_reply(reply, (int, float), "on_tick")
            if isinstance(delay, (int, float)):
                delay = check_seconds("the delay of on_tick", max(delay, 0.0), inf)
        except Exception:
            self.log.exception("on_tick raised; it is not called again")
            return
        if isinstance(delay, float) and not self._stopping:
            self._timers.add(delay, self.tick)
        if action is Action.SHUTDOWN:
            self.engine.request_stop()

    def _call_on_open(self, conn: Connection) -> None:
        try:
            reply = conn._origin.handler.on_open(conn)
            if reply is None:
                return
            data, action = split_reply(reply, bytes, "on_open")
            if isinstance(data, bytes):
                conn.write(data)
            self._act(conn, action)
        except Exception as error:
            self._handler_failed(conn, "on_open", error)

    def call_on_writable(self, conn: Connection) -> None:
        """Little waits to be sent again."""
        self._call(conn, conn._origin.handler.on_writable, "on_writable")

    def _call(
        self, conn: Connection, method: Callable[[Connection], Action | None], name: str
    ) -> None:
        try:
            action = method(conn)
            if action is not None:
                self._act(conn, check_action(action, name))
        except Exception as error:
            self._handler_failed(conn, name, error)

    def _call_on_close(self, conn: Connection) -> None:
        try:
            reply = conn._origin.handler.on_close(conn, conn._error)
            if reply is not None:
                self._act(conn, check_action(reply, "on_close"))
        except Exception:
            self.log.exception("%r: on_close raised", conn)
        for callback in conn._on_closed or ():
            self.guard(callback, conn, conn._error)

    def _act(self, conn: Connection, action: Action) -> None:
        if action is Action.CLOSE:
            conn._finish(None)
        elif action is Action.SHUTDOWN:
            self.engine.request_stop()
        elif action is Action.AGAIN:
            self.call_again(conn)

    def _handler_failed(self, conn: Connection, method: str, error: Exception) -> None:
        self.log.exception("%r: %s raised; the connection is closed", conn, method)
        conn._finish(error)
