"""Foreign descriptors that a loop watches for readability."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from ...completion import READABLE
from ..base.contract import Backend
from ..base.timers import TRY_AGAIN
from .free_handles import HasHandles


class WatchingLoop(HasHandles, Protocol):
    """What watches need from their reactor."""

    backend: Backend

    def add_timer(self, delay: float, call: Callable[[], object]) -> object: ...
    def guard(self, call: Callable[..., object]) -> None: ...


class Watches:
    """On the reactor's thread. The descriptors still belong to their owners."""

    def __init__(self, loop: WatchingLoop) -> None:
        self._loop = loop
        self._calls: dict[int, tuple[int, Callable[[], object]]] = {}

    def add(self, fd: int, call: Callable[[], object]) -> None:
        """Make the call whenever the descriptor is readable, until the loop ends."""
        handle = self._loop.take_handle()
        if handle is None:
            raise AssertionError("a backend has more slots than connections and watches need")
        try:
            self._calls[handle] = (fd, call)
            self._loop.owners[handle] = self
            self._loop.backend.poll(handle, fd, READABLE)
        except BaseException:
            self._calls.pop(handle, None)
            self._loop.owners.pop(handle, None)
            self._loop.give_back_handle(handle)
            raise

    def on_ready(self, handle: int, mask: int, b: int) -> None:
        """A poll has fired: start the next one, then make the call."""
        fd, call = self._calls.pop(handle)
        self._loop.owners.pop(handle, None)
        self._loop.give_back_handle(handle)
        try:
            self.add(fd, call)  # first: the call may take the handle
        except MemoryError:
            self._later(fd, call)
        self._loop.guard(call)

    def on_error(self, handle: int, result: int) -> None:
        """A poll reports no errors: the owner of the descriptor will find them."""

    def on_closed(self, handle: int) -> None:
        """The poll could not be started: it is tried again later."""
        self._later(*self._calls.pop(handle))

    def on_lost(self, handle: int, kind: int, error: BaseException) -> None:
        """An event could not be handled: if the poll has ended, it is started again."""
        if handle in self._calls:
            self.on_ready(handle, 0, 0)

    def _later(self, fd: int, call: Callable[[], object]) -> None:
        self._loop.add_timer(TRY_AGAIN, partial(self.add, fd, call))
