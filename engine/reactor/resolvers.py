"""Threads that resolve names, which may block for as long as a resolver does not answer.

They are daemons: the end of a program waits for none of them, as it would for those of
`concurrent.futures`.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import RLock, Thread


class Resolvers:
    """At most so many threads, made when there is something for them; what finds none waits."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = RLock()
        self._threads = 0
        self._unfinished = 0  # calls that wait for a thread or are being made
        self._is_over = False

    def submit(self, call: Callable[[], object]) -> None:
        """Have a call made that raises nothing, in its turn; not any more once it is over.

        From any thread. Raises RuntimeError where there is no thread, and the system gives none.
        """
        with self._lock:
            if self._is_over:
                return
            if self._unfinished >= self._threads and self._threads < self._most:
                self._add_thread()
            self._unfinished += 1
            self._calls.put(call)

    def end(self) -> None:
        """Make no more calls. It waits for none of those that are being made."""
        with self._lock:
            self._is_over = True
            while not self._calls.empty():
                self._calls.get()
            self._calls.put(None)  # each thread that finds it puts it back for the next

    def _add_thread(self) -> None:
        thread = Thread(target=self._work, name=f"ringnet-resolver-{self._threads}", daemon=True)
        self._threads += 1
        try:
            thread.start()
        except RuntimeError:  # no more than there are, then
            self._threads -= 1
            if not self._threads:
                raise

    def _work(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                call()
                del call  # nothing is kept alive while there is nothing to do
                with self._lock:
                    self._unfinished -= 1
            self._calls.put(None)
        finally:
            with self._lock:
                self._threads -= 1
