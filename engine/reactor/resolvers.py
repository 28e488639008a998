"""Threads that resolve names, which may block until a name server answers.

They are daemons: the end of the program does not wait for them, as it would for threads of
`concurrent.futures`.
"""

from __future__ import annotations

from collections.abc import Callable
from queue import SimpleQueue
from threading import RLock, Thread


class Resolvers:
    """At most `most` threads, created when needed; calls queue up while all are busy."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._calls: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._lock = RLock()
        self._threads = 0
        self._unfinished = 0  # calls that are queued or being made
        self._is_over = False

    def submit(self, call: Callable[[], object]) -> None:
        """Queue a call that raises nothing; ignored after `end`.

        From any thread. Raises RuntimeError if there is no thread and none can be started.
        """
        with self._lock:
            if self._is_over:
                return
            if self._unfinished >= self._threads and self._threads < self._most:
                self._add_thread()
            self._unfinished += 1
            self._calls.put(call)

    def end(self) -> None:
        """Make no more calls. Does not wait for those that are being made."""
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
        except RuntimeError:  # then the existing threads must do
            self._threads -= 1
            if not self._threads:
                raise

    def _work(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                call()
                del call  # keep nothing alive while idle
                with self._lock:
                    self._unfinished -= 1
            self._calls.put(None)
        finally:
            with self._lock:
                self._threads -= 1
