"""Waiting that may be interrupted at any step, even by code that waits or wakes others itself.

Signal handlers, and `__del__` during garbage collection, run between two steps of a thread. If they
take a lock that the interrupted thread holds, they wait forever: `threading.Lock` has this problem,
and so do the Event, Condition and Semaphore built on it. Here no lock is held. Each step is one
atomic operation on a deque or a lock, and the steps are ordered so that no ring is lost, whatever
interrupts them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf
from threading import TIMEOUT_MAX, Lock
from time import monotonic


class Bells:
    """Waiting threads, each with its own bell; they are rung in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: deque[Lock] = deque()  # each is locked until it is rung, and rung once

    def ring(self) -> bool:
        """Make one waiting thread check its condition again; False if none is waiting."""
        try:
            bell = self._waiting.popleft()
        except IndexError:
            return False
        bell.release()
        return True

    def ring_all(self) -> None:
        """Make every waiting thread check its condition again."""
        for _ in range(len(self._waiting)):
            self.ring()

    def wait_for(self, holds: Callable[[], bool], timeout: float | None = None) -> bool:
        """Wait until `holds()` is true, for at most `timeout` seconds; checked after each ring.

        An exception of `holds` propagates.
        """
        deadline = inf if timeout is None else monotonic() + timeout
        bell = Lock()
        bell.acquire()
        while True:
            self._waiting.append(bell)  # before the check, so that no ring is missed
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
            self.ring()  # it was rung just now: pass the ring on to another thread


class Latch:
    """An event that is set once: a `threading.Event` that may be interrupted as described above."""

    def __init__(self) -> None:
        self._is_set = False
        self._bells = Bells()

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it, and wake all waiting threads."""
        self._is_set = True
        self._bells.ring_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for at most `timeout` seconds; returns whether it is set."""
        return self._is_set or self._bells.wait_for(self.is_set, timeout)
