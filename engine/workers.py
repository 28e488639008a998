"""The worker pool: blocking work away from the event loops. gnet: pkg/pool/goroutine; ants.

The law of this file: what is accepted has a worker at once, so nothing waits in a queue; who finds
no free worker waits itself, with a bound, or is refused. Everything is for any thread.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from .errors import ConnectionClosed, OptionError, PoolClosed, PoolOverload, QueueFull
from .eventloop import current_loop
from .logs import ROOT, Log

if TYPE_CHECKING:
    from .connection import Connection

P = ParamSpec("P")
T = TypeVar("T")
Task = Callable[[], object]
_here = threading.local()


class WorkerPool(Executor):
    """At most `capacity` threads that run tasks; also a standard `concurrent.futures.Executor`.

    A thread is made when a task finds none idle (`preallocate`: all at once), and ends after
    `idle_timeout` seconds without one (None: never). With `nonblocking`, a submit that finds no
    free worker raises PoolOverload; else it waits, and so may `max_blocking` threads at once. A
    reactor's thread and the pool's own workers never wait: that would stall a loop, or the pool.

    `on_error(exception)` gets what a task given to `spawn` raised; by default it is logged, by
    `logger` or else the logger `ringnet`. Raises OptionError and TypeError at once. ants: NewPool
    and its options.
    """

    def __init__(
        self,
        capacity: int,
        *,
        nonblocking: bool = False,
        max_blocking: int = 10_000,
        idle_timeout: float | None = 10.0,
        preallocate: bool = False,
        on_error: Callable[[BaseException], object] | None = None,
        name: str = "ringnet-worker",
        logger: logging.Logger | None = None,
    ) -> None:
        _check("capacity", capacity, 1, 100_000, "threads")
        _check("max_blocking", max_blocking, 0, 1 << 31, "threads")
        if idle_timeout is not None:
            _check("idle_timeout", idle_timeout, 0.0, 86_400.0, "s")
        if on_error is not None and not callable(on_error):
            raise TypeError(f"on_error is called with an exception, so not {on_error!r}")
        if logger is not None and not isinstance(logger, logging.Logger):
            raise TypeError(f"logger is a logging.Logger, not {logger!r}")
        self.nonblocking = nonblocking
        self.max_blocking = max_blocking
        self.idle_timeout = idle_timeout
        self._on_error = on_error
        self._log = Log(logger or ROOT)
        self._name = name
        self._capacity = capacity
        self._lock = threading.Lock()
        self._has_task = threading.Condition(self._lock)
        self._has_room = threading.Condition(self._lock)
        self._has_ended = threading.Condition(self._lock)
        self._tasks: deque[Task] = deque()
        self._threads: set[threading.Thread] = set()
        self.family: object = self  # pools whose workers may not wait for one another
        self._made = 0  # threads so far, for their names
        self._idle = 0  # threads that wait for a task
        self._running = 0  # tasks that were accepted and are not over
        self._waiting = 0  # threads that wait to submit
        self._closed = False
        if preallocate:
            self.preallocate()

    def __repr__(self) -> str:
        return f"<ringnet.WorkerPool {self.running}/{self.capacity}>"

    # What it is doing

    @property
    def capacity(self) -> int:
        """Tasks that may run at once. ants: Cap."""
        return self._capacity

    @property
    def running(self) -> int:
        """Tasks that run. ants: Running."""
        return self._running

    @property
    def free(self) -> int:
        """Tasks that may begin at once; 0 or more. ants: Free."""
        return max(0, self._capacity - self._running)

    @property
    def waiting(self) -> int:
        """Threads that wait to submit. ants: Waiting."""
        return self._waiting

    @property
    def workers(self) -> int:
        """Threads there are, running or idle."""
        return len(self._threads)

    @property
    def is_closed(self) -> bool:
        """Whether it was released. ants: IsClosed."""
        return self._closed

    def preallocate(self) -> None:
        """Make all the threads that it may have. Raises PoolOverload. ants: WithPreAlloc."""
        with self._lock:
            while len(self._threads) < self._capacity:
                self._add_worker()

    # Giving it work

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call on a worker; the future has its result or exception.

        Raises PoolOverload and PoolClosed. ants: Submit.
        """
        future: Future[T] = Future()
        self._accept(partial(_fulfil, future, call, args, kwargs))
        return future

    def spawn(self, call: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a call on a worker; nobody waits for it. What it raises goes to `on_error`.

        Raises PoolOverload and PoolClosed. ants: Submit.
        """
        self._accept(partial(call, *args, **kwargs))

    def submit_to(
        self,
        conn: Connection,
        call: Callable[P, T],
        then: Callable[[Connection, T | None, BaseException | None], object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Run a call on a worker, then `then(conn, result, error)` on the connection's thread.

        One of `result` and `error` is None. `then` also runs where the connection was closed
        meanwhile; where its engine has stopped, that is logged. Raises PoolOverload, PoolClosed.
        """
        self._accept(partial(self._bring_back, conn, partial(call, *args, **kwargs), then))

    def _accept(self, task: Task) -> None:
        with self._lock:
            if self._closed:
                raise PoolClosed("the pool was released: it takes no more tasks")
            if self._running >= self._capacity:
                self._wait_for_room()
            # Where there are as many threads as may be, one of them is on its way to wait.
            if len(self._tasks) >= self._idle and len(self._threads) < self._capacity:
                self._add_worker()
            else:
                self._has_task.notify()
            self._running += 1
            self._tasks.append(task)

    def _wait_for_room(self) -> None:
        is_ours = getattr(_here, "family", None) is self.family
        if self.nonblocking or is_ours or current_loop() is not None:
            raise PoolOverload(f"all {self._capacity} workers are busy")
        if self._waiting >= self.max_blocking:
            raise PoolOverload(f"{self._waiting} threads wait already (max_blocking)")
        self._waiting += 1
        try:
            self._has_room.wait_for(lambda: self._closed or self._running < self._capacity)
        finally:
            self._waiting -= 1
        if self._closed:
            raise PoolClosed("the pool was released while this thread waited")

    # Workers

    def _add_worker(self) -> None:
        self._made += 1
        worker = threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True)
        try:
            worker.start()
        except RuntimeError as error:
            self._has_room.notify()  # the room that is not taken is another's
            raise PoolOverload(f"the system gives no thread to {self!r}: {error}") from error
        self._threads.add(worker)

    def _work(self) -> None:
        _here.family = self.family
        while True:
            with self._lock:
                task = self._next_task()
                if task is None:
                    self._threads.discard(threading.current_thread())
                    self._has_ended.notify_all()
                    return
            try:
                task()
            except BaseException as error:
                self._tell(error)
            del task  # an idle worker keeps nothing alive
            with self._lock:
                self._running -= 1
                self._has_room.notify()
                self._has_ended.notify_all()

    def _next_task(self) -> Task | None:
        """Wait for a task; None where this worker is no longer needed."""
        deadline = None if self.idle_timeout is None else monotonic() + self.idle_timeout
        while not self._tasks:
            left = None if deadline is None else deadline - monotonic()
            is_stale = left is not None and left <= 0
            if self._closed or is_stale or len(self._threads) > self._capacity:
                return None
            self._idle += 1
            try:
                self._has_task.wait(left)
            finally:
                self._idle -= 1
        return self._tasks.popleft()

    def _tell(self, error: BaseException) -> None:
        if self._on_error is None:
            self._log.error("%r: a task raised", self, error=error)
            return
        try:
            self._on_error(error)
        except BaseException as another:  # whatever it is, it may not cost a worker
            self._log.error("%r: on_error raised", self, error=another)

    def _bring_back(
        self, conn: Connection, call: Callable[[], Any], then: Callable[..., object]
    ) -> None:
        result, failure = None, None
        try:
            result = call()
        except BaseException as error:
            failure = error
        try:
            conn.loop.execute(partial(then, conn, result, failure))
        except (ConnectionClosed, QueueFull) as error:
            self._log.error("a result for %r is lost: %s", conn, error)

    # Control

    def tune(self, capacity: int) -> None:
        """Change the capacity while it runs: who waits goes on, idle workers too many end.

        ants: Tune.
        """
        _check("capacity", capacity, 1, 100_000, "threads")
        with self._lock:
            self._capacity = capacity
            self._has_room.notify_all()
            self._has_task.notify_all()

    def release(self, timeout: float | None = None) -> bool:
        """Take no more tasks, and wait for those that run; who waits to submit gets PoolClosed.

        Returns whether all have ended within `timeout` seconds (None: wait for them; 0: do not).
        On one of its own workers it does not wait. ants: Release, ReleaseTimeout.
        """
        with self._lock:
            self._closed = True
            self._has_room.notify_all()
            self._has_task.notify_all()
            if threading.current_thread() in self._threads:
                return False
            return self._has_ended.wait_for(lambda: not self._threads, timeout)

    def reboot(self) -> None:
        """Take tasks again after `release`. ants: Reboot."""
        with self._lock:
            self._closed = False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """`release`, as an Executor does it. Nothing is ever queued, so nothing is cancelled."""
        self.release(None if wait else 0)


def _fulfil(future: Future[Any], call: Callable[..., Any], args: Any, kwargs: Any) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call(*args, **kwargs)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


def _check(name: str, value: Any, low: float, high: float, unit: str) -> None:
    kinds = (int,) if isinstance(low, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise OptionError(f"{name} is from {low} to {high} {unit}, not {value!r}")
