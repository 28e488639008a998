"""The acceptor: listeners of a reactor, and where their newcomers go.

The law of this file: running out of descriptors, memory or places never stops the engine. It
rests for a moment or turns a newcomer away, and says so once a while.
"""

from __future__ import annotations

import os
from time import monotonic
from typing import TYPE_CHECKING

from ..completion import NOW

if TYPE_CHECKING:
    from .reactor import Reactor

REST = 0.1  # seconds between tries while descriptors or memory are exhausted
SAY_EVERY = 10.0  # seconds between two warnings of the same kind


class Acceptor:
    """On the reactor's thread."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._listeners: dict[int, int] = {}  # handle: descriptor
        self._said: dict[str, float] = {}

    @property
    def is_open(self) -> bool:
        """Whether a listener has not seen its final event yet."""
        return bool(self._listeners)

    def listen(self, fd: int) -> None:
        """Accept from a listening descriptor."""
        handle = self._reactor.take_handle()
        if handle is None:
            raise AssertionError("a backend has more slots than connections and listeners need")
        self._listeners[handle] = fd
        self._reactor.backend.listen(handle, fd)

    def close(self) -> None:
        """Accept no more."""
        for handle in self._listeners:
            self._reactor.backend.close(handle, NOW)

    def on_accepted(self, handle: int, fd: int, b: int) -> None:
        """A newcomer: the balancer says which reactor gets it."""
        engine = self._reactor.engine
        if engine.count_connections() >= engine.max_connections:
            os.close(fd)
            self._say("%s: %d connections are open (max_connections): newcomers are closed",
                      engine, engine.max_connections)  # fmt: skip
            return
        engine.accepted += 1
        target = engine.balancer.pick()
        if target is self._reactor:
            target.open(fd)
        else:
            target.post(target.open, fd)

    def on_stalled(self, handle: int, result: int, b: int) -> None:
        """No descriptor or memory for a newcomer: try again after a rest."""
        self._say("accepting rests for %s s: %s", REST, os.strerror(-result))
        self._reactor.add_timer(REST, lambda: self._reactor.backend.resume(handle))

    def on_error(self, handle: int, result: int) -> None:
        """The listener itself is broken: without it the engine cannot do its work."""
        self._reactor.log.error("a listener has failed: %s", os.strerror(-result))
        self._reactor.backend.close(handle, NOW)

    def on_closed(self, handle: int) -> None:
        """The final event of a listener."""
        del self._listeners[handle]

    def _say(self, text: str, *arguments: object) -> None:
        now = monotonic()
        if now - self._said.get(text, -SAY_EVERY) >= SAY_EVERY:
            self._said[text] = now
            self._reactor.log.warning(text, *arguments)
