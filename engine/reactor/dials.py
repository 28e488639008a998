"""The dials in progress on a reactor, and the dial that each handle belongs to."""

from __future__ import annotations

import errno
from typing import Any, Protocol

from ...completion import retried
from ..base.contract import Backend
from .free_handles import HasHandles


class Dialed(Protocol):
    """A dial, as the receiver of the events of its attempts."""

    @property
    def origin(self) -> Any: ...
    def on_connected(self, handle: int) -> None: ...
    def on_error(self, handle: int, result: int) -> None: ...
    def fail(self, error: BaseException) -> None: ...
    def give_up(self, why: str) -> None: ...


class DialsLoop(HasHandles, Protocol):
    """A reactor, as its dials' table sees it."""

    backend: Backend

    def guard(self, call: Any, /, *arguments: Any) -> None: ...


class Dials:
    """On the reactor's thread."""

    def __init__(self, loop: DialsLoop) -> None:
        self._loop = loop
        self._pending: set[Dialed] = set()
        self._attempts: dict[int, Dialed] = {}  # by handle; until its final event

    @property
    def pending(self) -> list[Dialed]:
        """The dials in progress."""
        return list(self._pending)

    @property
    def attempts(self) -> list[int]:
        """The handles of their attempts, including those that are being closed."""
        return list(self._attempts)

    # For dials

    def add(self, dial: Dialed) -> None:
        """Register a dial. Raises OSError if there are as many as the backend has handles."""
        most = self._loop.backend.capacity
        if len(self._pending) >= most:
            raise OSError(errno.EMFILE, f"the reactor has {most} dials in progress already")
        self._pending.add(dial)

    def remove(self, dial: Dialed) -> None:
        """Remove a dial that has ended or never started."""
        self._pending.discard(dial)

    def reserve(self, dial: Dialed) -> int:
        """A handle for an attempt. Raises OSError if all are in use."""
        handle = self._loop.take_handle()
        if handle is None:
            raise OSError(errno.EMFILE, "the reactor has max_connections already")
        try:
            self._attempts[handle] = dial
            self._loop.owners[handle] = self
        except BaseException:
            self.release(handle)
            raise
        return handle

    def release(self, handle: int) -> None:
        """Return the handle of an attempt that has not started."""
        self.hand_on(handle)
        self._loop.give_back_handle(handle)

    def hand_on(self, handle: int) -> None:
        """The handle is a connection's now."""
        self._attempts.pop(handle, None)
        self._loop.owners.pop(handle, None)

    # Events

    def on_connected(self, handle: int, a: int, b: int) -> None:
        """An attempt has succeeded."""
        self._attempts[handle].on_connected(handle)

    def on_error(self, handle: int, result: int) -> None:
        """An attempt has failed."""
        self._attempts[handle].on_error(handle, result)

    def on_closed(self, handle: int) -> None:
        """The final event of an attempt."""
        self._attempts.pop(handle, None)

    def on_lost(self, handle: int, kind: int, error: BaseException) -> None:
        """An event could not be handled."""
        self._attempts[handle].fail(error)

    # The end

    def give_up(self, why: str, origin: Any = None) -> None:
        """End all dials, or those of an origin."""
        for dial in retried(list, self._pending):
            if origin in (None, dial.origin):
                self._loop.guard(dial.give_up, why)
