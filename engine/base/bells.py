"""Waiting that may be interrupted at any step, also by somebody who waits or wakes himself.

A handler of a signal, and `__del__` while garbage is collected, run between two steps of a thread.
Whatever they call may take a lock that this thread holds just then, and wait for ever: so it is
with the Lock of `threading`, and with the Event, Condition and Semaphore built on it. Here nothing
is held. Each step is one operation of a deque or of a lock that the interpreter does at once, and
the steps are in such an order that no ring is lost, whatever interrupts them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from threading import TIMEOUT_MAX, Lock
from time import monotonic


class Bells:
    """Threads that wait, each for a bell of its own; the first that came is rung first."""

    def __init__(self) -> None:
        self._waiting: deque[Lock] = deque()  # each locked until it is rung, and rung once

    def ring(self) -> bool:
        """Have one look again; False where nobody waits."""
        try:
            bell = self._waiting.popleft()
        except IndexError:
            return False
        bell.release()
        return True

    def ring_all(self) -> None:
        """Have all look again who wait now."""
        for _ in range(len(self._waiting)):
            self.ring()

    def wait_for(self, holds: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `holds()`, for at most so many seconds; it is asked after each ring.

        What it raises is raised.
        """
        deadline = inf if timeout is None else monotonic() + timeout
        bell = Lock()
        bell.acquire()
        while True:
            self._waiting.append(bell)  # before it is asked, so that no ring is missed
            is_rung = False
            try:
                if holds():
                    return True
                left = min(deadline - monotonic(), TIMEOUT_MAX)
                is_rung = left > 0 and bell.acquire(timeout=left)
            finally:
                if not is_rung:
                    self._leave(bell)
            if not is_rung:
                return False

    def _leave(self, bell: Lock) -> None:
        try:
            self._waiting.remove(bell)
        except ValueError:
            self.ring()  # it was rung in this moment, which is for somebody else now


class Latch:
    """An event that is set once: `threading.Event`, that may be interrupted as above."""

    def __init__(self) -> None:
        self._is_set = False
        self._bells = Bells()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Let all go on that wait."""
        self._is_set = True
        self._bells.ring_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it is set within so many seconds."""
        return self._is_set or self._bells.wait_for(self.is_set, timeout)
