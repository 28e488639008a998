"""Timers: one heap per reactor, which also determines the backend's timeout.

A cancelled timer stays in the heap, without its call, until it is due or until half of the heap is
cancelled; so cancelling costs next to nothing. The heap belongs to the reactor's thread; requests
from other threads are posted to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from heapq import heapify, heappop, heappush, heapreplace
from threading import get_ident
from time import monotonic
from typing import Protocol

from .errors import ConnectionClosed, QueueFull

_CLEAN_FROM = 64  # cancelled timers; fewer are not worth a pass over the heap
TRY_AGAIN = 0.1  # seconds until a call that failed for lack of memory is repeated
LONGEST_WAIT = 86_400.0  # seconds; epoll_wait(2) takes an int of milliseconds, 24 days

Call = Callable[[], object]


class Loop(Protocol):
    """What timers need from their reactor."""

    ident: int

    def post(self, call: Callable[..., object], *arguments: object) -> None: ...


class Timer:
    """A call at a certain time, once or repeatedly. Returned by `EventLoop.schedule` and `repeat`.

    `when` is the time of the next run, in seconds of `time.monotonic()`; `every` is the time
    between two runs, or 0 if it runs once.
    """

    __slots__ = ("_call", "_is_dropped", "_number", "_timers", "every", "when")

    def __init__(self, timers: Timers, when: float, every: float, call: Call) -> None:
        self.when = when  # seconds of time.monotonic()
        self.every = every  # seconds from one run to the next; 0: it runs once
        self._number = 0
        self._call: Call | None = call
        self._is_dropped = False  # cancelled by another thread; the loop may not know it yet
        self._timers = timers

    def __lt__(self, other: Timer) -> bool:
        # Without an allocation, which could fail half-way through a change of the heap.
        return self.when < other.when or (self.when == other.when and self._number < other._number)

    @property
    def pending(self) -> bool:
        """Whether it is still going to run."""
        return self._call is not None and not self._is_dropped

    def cancel(self) -> None:
        """Cancel it; does nothing if it has run or was cancelled already.

        From any thread, even while the reactor's queue is full.
        """
        loop = self._timers.loop
        if loop.ident == get_ident() and not self._timers.is_busy:
            self._cancel()
        elif self.pending:
            self._is_dropped = True
            try:
                loop.post(self._cancel)
            except QueueFull:
                pass  # the loop sees the mark when it is due
            except ConnectionClosed:
                self._call = None  # the loop is over, and runs nothing more

    def after(self, now: float) -> float:
        """For the engine: when it runs again: without drift, skipping runs that were missed."""
        then = self.when + self.every
        return then if then > now else now + self.every - (now - self.when) % self.every

    def _cancel(self) -> None:
        timers = self._timers
        timers.is_busy = True
        try:
            if self._call is not None:
                self._call = None
                if self._number:  # otherwise it is not in the heap yet, and never will be
                    timers.note_cancelled()
        finally:
            timers.is_busy = False


class Timers:
    """The timers of one reactor."""

    __slots__ = ("_cancelled", "_count", "heap", "is_busy", "loop")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.heap: list[Timer] = []  # always the same object; others check whether it is empty
        self._count = 0
        self._cancelled = 0
        # While True, code that interrupts this thread, such as a `__del__`, leaves the heap alone.
        self.is_busy = False

    def __len__(self) -> int:
        return len(self.heap) - self._cancelled

    def add(self, delay: float, call: Call, every: float = 0.0) -> Timer:
        """Run `call` after `delay` seconds; timers with equal times run in the order of adding."""
        timer = Timer(self, monotonic() + delay, every, call)
        if self.loop.ident == get_ident() and not self.is_busy:
            self._push(timer)
        else:
            self.loop.post(self._push, timer)
        return timer

    def _push(self, timer: Timer) -> None:
        self.is_busy = True
        try:
            self._count += 1
            timer._number = self._count
            if timer._call is not None:
                heappush(self.heap, timer)
        except MemoryError:
            timer._number = 0  # it is not in the heap
            raise
        finally:
            self.is_busy = False

    def timeout(self) -> float | None:
        """Seconds until the first is due: 0 if one is, None if there is none.

        Never more than a system call can express; the loop then wakes early and asks again.
        """
        heap = self.heap
        while heap:
            first = heap[0]
            if first._call is not None:
                left = first.when - monotonic()
                return left if 0.0 < left < LONGEST_WAIT else 0.0 if left <= 0.0 else LONGEST_WAIT
            self._next(monotonic(), self._count)
        return None

    def are_due(self) -> bool:
        """Whether `due` may have any. Called in each turn, if there are timers."""
        return self.heap[0].when <= monotonic()

    def due(self) -> Iterator[Call]:
        """The calls that are due. One may still cancel another; timers that they add are not
        included, even with no delay."""
        heap = self.heap
        now, last = monotonic(), self._count
        while heap and heap[0].when <= now and heap[0]._number <= last:
            call = self._next(now, last)
            if call is not None:
                yield call

    def _next(self, now: float, last: int) -> Call | None:
        """Remove the first timer if it is cancelled or due; a repeating one is put back."""
        heap = self.heap
        self.is_busy = True
        try:
            timer = heap[0]
            call = timer._call
            if call is None:
                cancelled = self._cancelled - 1
                heappop(heap)
                self._cancelled = cancelled
            elif timer.when > now or timer._number > last:
                return None  # it was added meanwhile
            elif timer.every and not timer._is_dropped:
                then, count = timer.after(now), self._count + 1
                timer.when, timer._number, self._count = then, count, count
                heapreplace(heap, timer)  # neither line needs memory
            else:
                heappop(heap)
                timer._call = None
                if timer._is_dropped:
                    return None
            return call
        finally:
            self.is_busy = False

    def note_cancelled(self) -> None:
        """Count a cancelled timer in the heap; remove them all once they are more than half."""
        self._cancelled += 1
        if self._cancelled >= _CLEAN_FROM and self._cancelled * 2 > len(self.heap):
            with suppress(MemoryError):  # then another time
                self.heap[:] = [timer for timer in self.heap if timer._call is not None]
                heapify(self.heap)
                self._cancelled = 0
