"""The worker pool: blocking work away from the event loops. gnet: pkg/pool/goroutine; ants.

The laws of this file: an accepted task gets a worker at once, so there is no queue; a caller that
finds no free worker waits, up to a bound, or is refused. Everything is for any thread, and for a
signal handler or a `__del__` that interrupts any step of it: so there is no lock. Room for a task
is a token in a deque, as is an idle worker; the thread that pops one owns it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from itertools import count, repeat
from typing import Any, Final, ParamSpec, TypeVar

from ..base.bells import Bells
from ..base.checks import check_call, check_patience
from ..base.current import current_loop
from ..base.errors import OptionError, PoolClosed, PoolOverload, shown
from ..base.logs import ROOT, Log
from ..base.processes import note_pool
from .tasks import OnLoop, Task, bring_back, fulfil

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=OnLoop)  # a connection
_CLOSED: Final = "the pool was released and accepts no more tasks"
_here = threading.local()


class _Worker:
    """A thread of a pool, and how it receives tasks."""

    __slots__ = ("bell", "task")

    def __init__(self, task: Task | None) -> None:
        self.task = task  # None when the bell rings: the worker is no longer needed
        self.bell = threading.Lock()  # released once for each task
        if task is None:
            self.bell.acquire()


class WorkerPool(Executor):
    """At most `capacity` threads that run tasks; also a standard `concurrent.futures.Executor`.

    A thread is created when a task finds no idle one (with `preallocate`, all at once), and ends
    after `idle_timeout` seconds without a task (None: never). With `nonblocking`, submitting a task
    while no worker is free raises PoolOverload; otherwise it waits, as up to `max_blocking` threads
    may at once. A reactor's thread and the pool's own workers never wait, since that would stall a
    loop or the pool; neither does a signal handler or a `__del__` that interrupts `submit`. All of
    these get PoolOverload instead. In a forked child the pool starts afresh; tasks of the parent
    continue in the parent only.

    `on_error(exception)` is called with the exception of a task given to `spawn`; by default it is
    logged to `logger`, or to the logger `ringnet`. Raises OptionError and TypeError at once.
    ants: NewPool and its options.
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
            raise TypeError(f"on_error must be callable with an exception, not {on_error!r}")
        if logger is not None and not isinstance(logger, logging.Logger):
            raise TypeError(f"logger must be a logging.Logger, not {logger!r}")
        self.nonblocking = nonblocking
        self.max_blocking = max_blocking
        self.idle_timeout = idle_timeout
        self._on_error = on_error
        self._log = Log(logger or ROOT)
        self._name = name
        self._capacity = capacity
        self._numbers = count(1)  # of threads, for their names
        self._tuning = threading.RLock()
        self.family: object = self  # shared by pools whose workers may not wait for each other
        self._closed = False
        self._begin()
        note_pool(self)
        if preallocate:
            self.preallocate()

    def _begin(self) -> None:
        self._room = deque(repeat(None, self._capacity))  # a token for each task that may start
        self._debts: deque[None] = deque()  # tasks that run beyond the capacity: see `tune`
        self._idle: deque[_Worker] = deque()
        self._threads: set[threading.Thread] = set()
        self._waiters: set[object] = set()  # one for each thread that waits to submit
        self._has_room = Bells()
        self._has_ended = Bells()

    def __repr__(self) -> str:
        return f"<ringnet.WorkerPool {self.running}/{self.capacity}>"

    def after_fork(self) -> None:
        """For the engine: in a forked child, where new threads are created when needed."""
        me = threading.current_thread()
        is_worker = me in self._threads  # a task has forked
        self._tuning = threading.RLock()
        self._begin()
        if is_worker:
            self._threads.add(me)
            _take(self._room)

    # State

    @property
    def capacity(self) -> int:
        """Tasks that may run at once. ants: Cap."""
        return self._capacity

    @property
    def running(self) -> int:
        """Tasks that run. ants: Running."""
        return max(0, self._capacity - len(self._room) + len(self._debts))

    @property
    def free(self) -> int:
        """Tasks that could start immediately; 0 or more. ants: Free."""
        return len(self._room)

    @property
    def waiting(self) -> int:
        """Threads that wait to submit. ants: Waiting."""
        return len(self._waiters)

    @property
    def workers(self) -> int:
        """The pool's threads, running or idle."""
        return len(self._threads)

    @property
    def is_closed(self) -> bool:
        """Whether `release` was called. ants: IsClosed."""
        return self._closed

    def preallocate(self) -> None:
        """Create all threads that the pool may have. Raises PoolOverload. ants: WithPreAlloc."""
        while len(self._threads) < self._capacity:
            self._idle.append(self._add_worker(None))

    # Submitting tasks

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call on a worker; the future gets its result or exception.

        Raises PoolOverload and PoolClosed. ants: Submit.
        """
        future: Future[T] = Future()
        self._accept(partial(fulfil, future, check_call(call), args, kwargs))
        return future

    def spawn(self, call: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a call on a worker and ignore its result. An exception goes to `on_error`.

        Raises PoolOverload and PoolClosed. ants: Submit.
        """
        self._accept(partial(check_call(call), *args, **kwargs))

    def submit_to(
        self,
        conn: C,
        call: Callable[P, T],
        then: Callable[[C, T | None, BaseException | None], object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Run a call on a worker, then `then(conn, result, error)` on the connection's thread.

        One of `result` and `error` is None. `then` is called even if the connection was closed
        meanwhile; if its engine has stopped, the lost result is logged instead. Raises
        PoolOverload, PoolClosed and TypeError.
        """
        if not hasattr(conn, "loop"):
            raise TypeError(
                f"submit_to takes a connection as its first argument, not {shown(conn)}"
            )
        work = partial(check_call(call), *args, **kwargs)
        self._accept(partial(bring_back, self._log, conn, work, check_call(then)))

    def _accept(self, task: Task) -> None:
        is_nested = getattr(_here, "is_inside", False)
        _here.is_inside = True  # code that interrupts this thread from here on may not wait
        try:
            if not self._enter():
                self._wait_for_room(is_nested)
            self._hand_out(task)
        finally:
            _here.is_inside = is_nested

    def _hand_out(self, task: Task) -> None:
        try:
            worker = self._idle.pop()  # the one that was busy last
        except IndexError:
            self._begin_with(task)
        else:
            worker.task = task
            worker.bell.release()

    def _begin_with(self, task: Task) -> None:
        try:
            self._add_worker(task)
        except (PoolOverload, MemoryError):
            self._give_room()  # the task will not run
            raise

    # Room for tasks: a token is taken first, and checked afterwards

    def _enter(self) -> bool:
        """Take room for a task; returns whether there was any. Raises PoolClosed."""
        if not _take(self._room):
            if self._closed:
                raise PoolClosed(_CLOSED)
            return False
        if self._closed:  # `release` waits until all room is given back
            self._give_room()
            raise PoolClosed(_CLOSED)
        return True

    def _wait_for_room(self, is_nested: bool) -> None:
        is_ours = getattr(_here, "family", None) is self.family
        if self.nonblocking or is_nested or is_ours or current_loop() is not None:
            raise PoolOverload(f"all {self._capacity} workers are busy")
        me = object()
        self._waiters.add(me)
        try:
            if len(self._waiters) > self.max_blocking:
                raise PoolOverload(f"{self.max_blocking} threads are waiting (max_blocking)")
            self._has_room.wait_for(self._enter)
        finally:
            self._waiters.discard(me)

    def _give_room(self) -> None:
        """A task is over: another may start, unless `tune` has reduced the capacity."""
        if not _take(self._debts):
            self._room.append(None)
            self._settle()
            self._has_room.ring()
        if self._closed:
            self._has_ended.ring_all()

    def _settle(self) -> None:
        """Settle a debt that another thread may have made while room was given back."""
        while self._room and _take(self._debts):
            if not _take(self._room):
                self._debts.append(None)

    # Workers

    def _add_worker(self, task: Task | None) -> _Worker:
        worker = _Worker(task)
        name = f"{self._name}-{next(self._numbers)}"
        thread = threading.Thread(target=self._work, args=(worker,), name=name, daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except (RuntimeError, MemoryError) as error:
            self._threads.discard(thread)
            if isinstance(error, MemoryError):
                raise
            raise PoolOverload(f"{self!r} cannot start a thread: {error}") from error
        return worker

    def _work(self, worker: _Worker) -> None:
        _here.family = self.family
        is_kept = True
        while is_kept and (task := self._next_task(worker)) is not None:
            try:
                task()
            except BaseException as error:
                self._report(error)
            task = None  # an idle worker must not keep it alive
            is_kept = self._park(worker)  # before giving room, so that the next task finds it
            self._give_room()
        self._threads.discard(threading.current_thread())
        self._has_ended.ring_all()

    def _next_task(self, worker: _Worker) -> Task | None:
        """Wait for a task; None if this worker is no longer needed."""
        timeout = -1 if self.idle_timeout is None else self.idle_timeout
        if not worker.bell.acquire(timeout=timeout):
            if self._unpark(worker):
                return None
            worker.bell.acquire()  # another thread has just taken it, and will ring
        task, worker.task = worker.task, None
        return task

    def _park(self, worker: _Worker) -> bool:
        """Put a worker among the idle ones; returns whether it stays for another task."""
        if self._closed or len(self._threads) > self._capacity:
            return False
        self._idle.append(worker)
        return not (self.is_closed and self._unpark(worker))  # `release` may not have seen it

    def _unpark(self, worker: _Worker) -> bool:
        """Remove a worker from the idle ones; False if another thread has taken it meanwhile."""
        try:
            self._idle.remove(worker)
        except ValueError:
            return False
        return True

    def _retire(self) -> bool:
        """End an idle worker; False if there is none."""
        try:
            worker = self._idle.popleft()  # the one that has been idle longest
        except IndexError:
            return False
        worker.bell.release()
        return True

    def _report(self, error: BaseException) -> None:
        if self._on_error is None:
            self._log.error("%r: a task raised", self, error=error)
            return
        try:
            self._on_error(error)
        except BaseException as another:  # no exception may end a worker
            self._log.error("%r: on_error raised", self, error=another)

    # Control

    def tune(self, capacity: int) -> None:
        """Change the capacity while the pool runs: waiting threads may proceed, and surplus idle
        workers end.

        ants: Tune.
        """
        _check("capacity", capacity, 1, 100_000, "threads")
        with self._tuning:
            before, self._capacity = self._capacity, capacity
        for _ in range(before, capacity):
            if not _take(self._debts):
                self._room.append(None)
        for _ in range(capacity, before):
            if not _take(self._room):
                self._debts.append(None)
        self._settle()
        self._has_room.ring_all()
        while len(self._threads) > self._capacity and self._retire():
            pass  # only workers with a task are left

    def release(self, timeout: float | None = None) -> bool:
        """Accept no more tasks, and wait for those that run.

        Threads that wait to submit get PoolClosed. Returns whether all tasks have ended within
        `timeout` seconds (None: no limit; 0: do not wait). On one of the pool's own workers it does
        not wait. ants: Release, ReleaseTimeout.
        """
        check_patience(timeout)
        self._closed = True
        self._has_room.ring_all()
        while self._retire():
            pass
        if threading.current_thread() in self._threads:
            return False
        return self._has_ended.wait_for(self._is_over, timeout)

    def _is_over(self) -> bool:
        return not self._threads and not self.running

    def reboot(self) -> None:
        """Accept tasks again after `release`. ants: Reboot."""
        self._closed = False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """`release`, under the name that an Executor has for it. No task is ever queued, so there
        is nothing to cancel."""
        self.release(None if wait else 0)


def _take(tokens: deque[None]) -> bool:
    try:
        tokens.pop()
    except IndexError:
        return False
    return True


def _check(name: str, value: Any, low: float, high: float, unit: str) -> None:
    kinds = (int,) if isinstance(low, int) else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
        raise OptionError(f"{name} must be from {low} to {high} {unit}, not {value!r}")
