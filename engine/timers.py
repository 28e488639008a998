"""Timers: one heap for each reactor, which also gives the backend its timeout.

A cancelled timer stays in the heap, emptied, until it is due or until half of the heap is such;
so cancelling costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic

_CLEAN_FROM = 64  # cancelled timers; fewer are not worth a pass over the heap


class Timer:
    """A call that is due at a time. Made by `Reactor.schedule`; on the reactor's thread only."""

    __slots__ = ("_call", "_number", "_timers", "when")

    def __init__(
        self, timers: Timers, when: float, number: int, call: Callable[[], object]
    ) -> None:
        self.when = when  # seconds of time.monotonic()
        self._number = number
        self._call: Callable[[], object] | None = call
        self._timers = timers

    def __lt__(self, other: Timer) -> bool:
        return (self.when, self._number) < (other.when, other._number)

    @property
    def pending(self) -> bool:
        """Whether it is still going to run."""
        return self._call is not None

    def cancel(self) -> None:
        """Do not run it. Does nothing if it has run or is cancelled already."""
        if self._call is not None:
            self._call = None
            self._timers.note_cancelled()

    def take(self) -> Callable[[], object] | None:
        """The call, which can be had once."""
        call, self._call = self._call, None
        return call


class Timers:
    """The timers of one reactor, on its thread."""

    __slots__ = ("_cancelled", "_count", "heap")

    def __init__(self) -> None:
        self.heap: list[Timer] = []  # the same object for good; for others, to see if it is empty
        self._count = 0
        self._cancelled = 0

    def __len__(self) -> int:
        return len(self.heap) - self._cancelled

    def add(self, delay: float, call: Callable[[], object]) -> Timer:
        """Run `call` after `delay` seconds; timers of the same time run in order of adding."""
        self._count += 1
        timer = Timer(self, monotonic() + delay, self._count, call)
        heappush(self.heap, timer)
        return timer

    def timeout(self) -> float | None:
        """Seconds until the first is due: 0 where one is, None where there is none."""
        heap = self.heap
        while heap and not heap[0].pending:
            heappop(heap)
            self._cancelled -= 1
        return max(0.0, heap[0].when - monotonic()) if heap else None

    def due(self) -> list[Callable[[], object]]:
        """Take the calls that are due. What these add is not among them, even with no delay."""
        calls: list[Callable[[], object]] = []
        heap = self.heap
        now = monotonic()
        while heap and heap[0].when <= now:
            call = heappop(heap).take()
            if call is None:
                self._cancelled -= 1
            else:
                calls.append(call)
        return calls

    def note_cancelled(self) -> None:
        """A timer in the heap was cancelled. Clears out when half of them are."""
        self._cancelled += 1
        if self._cancelled >= _CLEAN_FROM and self._cancelled * 2 > len(self.heap):
            self.heap[:] = [timer for timer in self.heap if timer.pending]
            heapify(self.heap)
            self._cancelled = 0
