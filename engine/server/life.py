"""The states of an engine (new, running, stopping, ended), and the threads that wait for it."""

from __future__ import annotations

from collections.abc import Callable
from threading import RLock, get_ident
from typing import Literal, Protocol

from ..base.bells import Latch
from ..base.errors import EngineStateError


class Threads(Protocol):
    """The reactors, and the threads that run them."""

    @property
    def runs_here(self) -> bool: ...
    @property
    def is_posting_here(self) -> bool: ...


class Life:
    """For any thread, and for signal handlers that interrupt one."""

    def __init__(self, threads: Threads) -> None:
        self._threads = threads
        self._state: Literal["new", "running", "ended"] = "new"
        self._lock = RLock()
        self._starter = 0  # the thread that is inside `start`
        self._waiters: set[int] = set()  # the threads that are inside `wait`
        self._ended = Latch()
        self.stop_requested = False

    def __str__(self) -> str:
        return "stopping" if self.is_stopping else self._state

    @property
    def is_new(self) -> bool:
        """Whether it has not been started yet."""
        return self._state == "new"

    @property
    def is_running(self) -> bool:
        """Whether it has started and not ended yet."""
        return self._state == "running"

    @property
    def is_stopping(self) -> bool:
        """Whether it is running and a stop was requested."""
        return self.stop_requested and self.is_running

    @property
    def is_ended(self) -> bool:
        """Whether it has ended, and the threads that waited for it are released."""
        return self._ended.is_set()

    def begin(self) -> None:
        """`start` is running on this thread. Raises EngineStateError if it was called before."""
        with self._lock:
            if not self.is_new:
                raise EngineStateError("an engine can be started only once: create a new one")
            self._starter = get_ident()
            self._state = "running"

    def begun(self) -> None:
        """`start` has ended."""
        self._starter = 0

    def end(self) -> None:
        """It has ended."""
        self._state = "ended"
        self._ended.set()

    def after_fork(self) -> None:
        """In a forked child, where no thread waits."""
        self._state = "ended"

    # Waiting for the end

    def wait(self, timeout: float | None, afterwards: Callable[[], object]) -> bool:
        """Wait at most `timeout` seconds, then call `afterwards`; returns whether it has ended."""
        me = get_ident()
        try:
            self._waiters.add(me)
            if not self._ended.wait(timeout):
                return False
            afterwards()
            return True
        finally:
            self._waiters.discard(me)

    @property
    def may_wait(self) -> bool:
        """Whether the calling thread can wait for the end without blocking it."""
        me = get_ident()
        is_inside = self._starter == me or me in self._waiters or self._threads.runs_here
        return not (self.is_new or is_inside or self._threads.is_posting_here)

    def check_may_wait(self, method: str) -> None:
        """Raise EngineStateError where waiting for the engine would never end."""
        if self._threads.is_posting_here:
            raise EngineStateError(
                f"{method} in a signal handler would wait for the code that it interrupts"
            )
        if self._threads.runs_here:
            raise EngineStateError(f"{method} on a reactor's thread would wait for itself")
        if self._starter == get_ident():
            raise EngineStateError(f"{method} in on_boot would wait for the start to finish")
        if self.is_new:
            raise EngineStateError(f"{method} needs running reactors: call start() first")
