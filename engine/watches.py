"""Descriptors of others that a loop watches beside its own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ..completion import READABLE
from .setbacks import TRY_AGAIN

if TYPE_CHECKING:
    from .reactor import Reactor


class Watches:
    """On the reactor's thread. The descriptors stay their owners'."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._calls: dict[int, tuple[int, Callable[[], object]]] = {}

    def add(self, fd: int, call: Callable[[], object]) -> None:
        """Make the call whenever the descriptor can be read, until the loop ends."""
        handle = self._reactor.take_handle()
        if handle is None:
            raise AssertionError("a backend has more slots than connections and watches need")
        try:
            self._calls[handle] = (fd, call)
            self._reactor.backend.poll(handle, fd, READABLE)
        except BaseException:
            self._calls.pop(handle, None)
            self._reactor.give_back_handle(handle)
            raise

    def on_ready(self, handle: int, mask: int, b: int) -> None:
        """A poll is over; the next one follows what it was for."""
        fd, call = self._calls.pop(handle)
        self._reactor.give_back_handle(handle)
        try:
            self.add(fd, call)  # first: the call may take the handle
        except MemoryError:
            self._reactor.add_timer(TRY_AGAIN, partial(self.add, fd, call))
        self._reactor.guard(call)
