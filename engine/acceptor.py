"""The acceptor: listeners of a reactor, and where their newcomers go.

The law of this file: running out of descriptors, memory or places never stops the engine. It
rests for a moment or turns a newcomer away, and says so once a while.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from ..completion import NOW
from .errors import ConnectionClosed, QueueFull
from .sockopts import borrowed

if TYPE_CHECKING:
    from .origin import Origin
    from .reactor import Reactor

REST = 0.1  # seconds between tries while descriptors or memory are exhausted


class Acceptor:
    """On the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._listeners: dict[int, Origin] = {}

    @property
    def is_open(self) -> bool:
        """Whether a listener has not seen its final event yet."""
        return bool(self._listeners)

    def listen(self, fd: int, origin: Origin) -> None:
        """Accept from a listening descriptor, which is the reactor's from now on."""
        handle = self._reactor.take_handle()
        if handle is None:
            raise AssertionError("a backend has more slots than connections and listeners need")
        self._listeners[handle] = origin
        self._reactor.backend.listen(handle, fd)

    def close(self) -> None:
        """Accept no more."""
        for handle in self._listeners:
            self._reactor.backend.close(handle, NOW)

    def on_accepted(self, handle: int, fd: int, b: int) -> None:
        """A newcomer: the balancer says which reactor gets it."""
        engine = self._reactor.engine
        origin = self._listeners[handle]
        if engine.count_connections() >= engine.max_connections:
            os.close(fd)
            self._reactor.seldom.say(
                "%s: %d connections are open (max_connections): newcomers are closed",
                engine,
                engine.max_connections,
            )
            return
        target = self._reactor if engine.options.reuse_port else self._pick(fd)
        if target is self._reactor:
            target.given += 1
            target.open(fd, origin)
        else:
            self._hand_over(target, fd, origin)

    def _pick(self, fd: int) -> Reactor:
        balancing = self._reactor.engine.balancing
        try:
            return balancing.pick(_peer(fd) if balancing.needs_address else None)
        except Exception:
            self._reactor.log.exception("load_balancing raised; the acceptor keeps the connection")
            return self._reactor

    def _hand_over(self, target: Reactor, fd: int, origin: Origin) -> None:
        target.given += 1  # only this thread writes it
        try:
            target.hand(self._reactor, target.open, fd, origin)
        except (ConnectionClosed, QueueFull) as error:
            target.given -= 1
            os.close(fd)
            self._reactor.seldom.say("a newcomer was closed: %s", error)

    def on_stalled(self, handle: int, result: int, b: int) -> None:
        """No descriptor or memory for a newcomer: try again after a rest."""
        self._reactor.seldom.say("accepting rests for %s s: %s", REST, os.strerror(-result))
        self._reactor.add_timer(REST, lambda: self._reactor.backend.resume(handle))

    def on_error(self, handle: int, result: int) -> None:
        """The listener itself is broken: without it the engine cannot do its work."""
        self._reactor.log.error("a listener has failed: %s", os.strerror(-result))
        self._reactor.backend.close(handle, NOW)

    def on_closed(self, handle: int) -> None:
        """The final event of a listener."""
        del self._listeners[handle]


def _peer(fd: int) -> Any:
    """The newcomer's address; None where it has gone already."""
    try:
        with borrowed(fd) as sock:
            return sock.getpeername() if sock.family != getattr(socket, "AF_UNIX", -1) else ""
    except OSError:
        return None
