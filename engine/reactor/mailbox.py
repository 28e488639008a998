"""Calls that other threads post to a reactor.

The law of this file: it is for any thread, and for a signal handler that interrupts any step of it.
The queue is bounded, and the reactor is woken at most once until it takes the calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ...completion import retried
from ..base.contract import Backend
from ..base.errors import EngineStateError, EngineStopped, QueueFull
from ..connection.owner import Forked

Posted = tuple[Callable[..., object], tuple[Any, ...]]


class HasBackend(Protocol):
    """A reactor that wakes another."""

    backend: Backend


class MailboxLoop(HasBackend, Protocol):
    """The reactor that the calls are for."""

    @property
    def engine(self) -> Forked: ...


class Mailbox:
    """The calls that wait for one reactor; at most `most` of users' calls."""

    def __init__(self, loop: MailboxLoop, most: int) -> None:
        self._loop = loop
        self._most = most
        self._calls: list[Posted] = []
        self._lock = threading.RLock()  # a signal handler may interrupt the thread that holds it
        self._is_woken = False  # since it last looked
        self._is_woken_later = False  # another reactor wakes this one at the end of its turn
        self._is_open = True

    def __len__(self) -> int:
        return len(self._calls)

    # For any thread

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have a call made on the loop's thread; calls from one thread keep their order."""
        with self._lock:
            self._check_room()
            self._calls.append((call, arguments))
            self._wake()

    def post_own(self, call: Callable[..., object], *arguments: Any) -> None:
        """`post` for the few calls of the engine itself, which a full queue must not delay."""
        with self._lock:
            self._check_room(is_bounded=False)
            self._calls.append((call, arguments))
            self._wake()

    def post_made(self, call: Callable[..., object], make: Callable[[], tuple[Any, ...]]) -> None:
        """`post`, with arguments that are created once there is room for the call."""
        with self._lock:
            self._check_room()
            self._calls.append((call, make()))
            self._wake()

    def hand(self, giver: HasBackend, call: Callable[..., object], *arguments: Any) -> None:
        """`post`, on the thread of another reactor, which wakes this one at the end of its turn."""
        with self._lock:
            self._check_room()
            self._calls.append((call, arguments))
            if self._is_woken or self._is_woken_later:
                return
            try:
                giver.backend.wake_other(self._loop.backend)
                self._is_woken_later = True  # a post in the meantime does not wait for that
            except MemoryError:  # the call is in the queue already
                self._wake()

    def wake_up(self) -> None:
        """Wake the loop, if it still runs."""
        with self._lock:
            if self._is_open:
                self._loop.backend.wake()

    def _wake(self) -> None:
        """Wake the loop, unless that was done since it looked.

        It counts as done afterwards only: a signal handler that raises may interrupt this, and the
        next call must not rely on a wake-up that never was.
        """
        if not self._is_woken:
            retried(self._loop.backend.wake)
            self._is_woken = True

    @property
    def is_posting(self) -> bool:
        """Whether the caller has interrupted its own thread in `post`, and so blocks the loop."""
        try:
            threading.Condition(self._lock).notify()  # raises unless it is held here
        except RuntimeError:
            return False
        return True

    def _check_room(self, is_bounded: bool = True) -> None:
        if not self._is_open:
            if self._loop.engine.is_forked:
                raise EngineStateError("this engine belongs to the parent process")
            raise EngineStopped("the engine has stopped: its reactors accept no more calls")
        if is_bounded and len(self._calls) >= self._most:
            raise QueueFull(
                f"{len(self._calls)} calls are waiting for {self._loop!r} "
                f"(max_foreign_calls={self._most})"
            )

    # For the loop

    def take(self) -> Iterator[Posted]:
        """Take the calls posted so far, in order."""
        with self._lock:
            calls = iter(self._calls)  # first: there may be no memory for it
            self._is_woken = False  # before the rest: a signal handler may post between the steps
            self._is_woken_later = False
            self._calls = []
        return calls

    def close(self) -> list[Posted]:
        """Accept no more calls; returns those posted before."""
        with self._lock:
            self._is_open = False
            late = self._calls
            self._calls = []
        return late

    def after_fork(self) -> None:
        """In a forked child, where no thread is left to hold the lock."""
        self._is_open = False
        self._lock = threading.RLock()
