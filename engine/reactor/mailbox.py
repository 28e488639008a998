"""Calls that other threads have a reactor make.

The law of this file: for any thread, and for a handler of a signal that interrupts any step of it.
The queue is bounded, and the reactor is woken at most once until it has looked.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from ..base.contract import Backend
from ..base.errors import EngineStateError, EngineStopped, QueueFull

Posted = tuple[Callable[..., object], tuple[Any, ...]]


class Forked(Protocol):
    """An engine, which a forked child has only a copy of."""

    is_forked: bool


class HasBackend(Protocol):
    """A reactor, as it wakes another."""

    backend: Backend


class MailboxLoop(HasBackend, Protocol):
    """The reactor whose calls these are."""

    @property
    def engine(self) -> Forked: ...


class Mailbox:
    """The calls that wait for one reactor, at most `most` of users'."""

    def __init__(self, loop: MailboxLoop, most: int) -> None:
        self._loop = loop
        self._most = most
        self._calls: list[Posted] = []
        self._lock = threading.RLock()  # a handler of a signal may interrupt who holds it
        self._is_woken_later = False  # another reactor wakes this one at the end of its turn
        self._is_open = True

    def __len__(self) -> int:
        return len(self._calls)

    # For any thread

    def post(self, call: Callable[..., object], *arguments: Any) -> None:
        """Have a call made on the loop's thread; calls of one thread keep their order."""
        with self._lock:
            if self._queue(call, arguments) or self._is_woken_later:
                self._is_woken_later = False
                self._loop.backend.wake()

    def post_own(self, call: Callable[..., object], *arguments: Any) -> None:
        """`post` for the few calls of the engine itself, which a full queue may not hold up."""
        with self._lock:
            if self._queue(call, arguments, is_bounded=False) or self._is_woken_later:
                self._is_woken_later = False
                self._loop.backend.wake()

    def post_made(self, call: Callable[..., object], make: Callable[[], tuple[Any, ...]]) -> None:
        """`post`, with arguments that are made once there is room for the call."""
        with self._lock:
            self._check_room()
            if self._append(call, make()) or self._is_woken_later:
                self._is_woken_later = False
                self._loop.backend.wake()

    def hand(self, giver: HasBackend, call: Callable[..., object], *arguments: Any) -> None:
        """`post`, on the thread of another reactor, which wakes this one at the end of its turn."""
        with self._lock:
            if self._queue(call, arguments):
                self._is_woken_later = True  # who posts meanwhile does not wait for that
                try:
                    giver.backend.wake_other(self._loop.backend)
                except MemoryError:  # the call is in the queue already
                    self._loop.backend.wake()

    def wake_up(self) -> None:
        """Have the loop look at its calls, if it is still there."""
        with self._lock:
            if self._is_open:
                self._loop.backend.wake()

    @property
    def is_posting(self) -> bool:
        """Whether the caller has interrupted this thread in `post`, and holds the loop up."""
        try:
            threading.Condition(self._lock).notify()  # raises unless it is held here
        except RuntimeError:
            return False
        return True

    def _queue(
        self, call: Callable[..., object], arguments: tuple[Any, ...], is_bounded: bool = True
    ) -> bool:
        """Whether nobody has woken the loop for an earlier call."""
        self._check_room(is_bounded)
        return self._append(call, arguments)

    def _check_room(self, is_bounded: bool = True) -> None:
        if not self._is_open:
            if self._loop.engine.is_forked:
                raise EngineStateError("this engine belongs to the process that was forked")
            raise EngineStopped("the engine has stopped: its reactors take no more calls")
        if is_bounded and len(self._calls) >= self._most:
            raise QueueFull(
                f"{len(self._calls)} calls wait for {self._loop!r} already "
                f"(max_foreign_calls={self._most})"
            )

    def _append(self, call: Callable[..., object], arguments: tuple[Any, ...]) -> bool:
        # Asked before: a handler of a signal may post between two steps of this.
        is_first = not self._calls
        self._calls.append((call, arguments))
        return is_first

    # For the loop

    def take(self) -> Iterator[Posted]:
        """What was posted by now, in its order."""
        with self._lock:
            calls = iter(self._calls)  # first: there may be no memory for it
            self._calls = []
            self._is_woken_later = False
        return calls

    def close(self) -> list[Posted]:
        """Take no more from now on; returns what came before."""
        with self._lock:
            self._is_open = False
            late, self._calls = self._calls, []
        return late

    def be_forked(self) -> None:
        """In a forked child, where no thread is left that could hold the lock."""
        self._is_open = False
        self._lock = threading.RLock()
