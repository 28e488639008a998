"""Several worker pools behind one interface, to reduce contention. ants: MultiPool."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from itertools import count
from time import monotonic
from typing import Any, ParamSpec, TypeVar

from ..base.checks import check_patience
from ..base.errors import OptionError, PoolOverload
from ..base.options import check_choice
from .tasks import OnLoop
from .workers import WorkerPool

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", bound=OnLoop)  # a connection
R = TypeVar("R")
STRATEGIES = ("round_robin", "least_tasks")


class MultiPool(Executor):
    """`pools` worker pools of `capacity` threads each. For any thread.

    `strategy` picks the pool for a task: "round_robin" or "least_tasks". If that pool has no free
    worker, the one with the fewest tasks gets it. Other options are passed to each WorkerPool.
    """

    def __init__(
        self, pools: int, capacity: int, *, strategy: str = "round_robin", **options: Any
    ) -> None:
        if isinstance(pools, bool) or not isinstance(pools, int) or not 1 <= pools <= 10_000:
            raise OptionError(f"pools must be from 1 to 10000, not {pools!r}")
        self.strategy = check_choice("strategy", strategy, STRATEGIES)
        preallocate = options.pop("preallocate", False)
        self.pools = tuple(WorkerPool(capacity, **options) for _ in range(pools))
        for pool in self.pools:
            pool.family = self
            if preallocate:
                pool.preallocate()
        self._turns = count()

    @property
    def capacity(self) -> int:
        """Tasks that may run at once, in all pools. ants: Cap."""
        return sum(pool.capacity for pool in self.pools)

    @property
    def running(self) -> int:
        """Tasks that run, in all pools; those of one pool: `pools[i].running`. ants: Running."""
        return sum(pool.running for pool in self.pools)

    @property
    def free(self) -> int:
        """Tasks that could start immediately, in all pools. ants: Free."""
        return sum(pool.free for pool in self.pools)

    @property
    def waiting(self) -> int:
        """Threads that wait to submit, in all pools. ants: Waiting."""
        return sum(pool.waiting for pool in self.pools)

    @property
    def is_closed(self) -> bool:
        """Whether `release` was called. ants: IsClosed."""
        return all(pool.is_closed for pool in self.pools)

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """As `WorkerPool.submit`. ants: Submit."""
        return self._try(lambda pool: pool.submit(call, *args, **kwargs))

    def spawn(self, call: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """As `WorkerPool.spawn`. ants: Submit."""
        self._try(lambda pool: pool.spawn(call, *args, **kwargs))

    def submit_to(
        self,
        conn: C,
        call: Callable[P, T],
        then: Callable[[C, T | None, BaseException | None], object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """As `WorkerPool.submit_to`."""
        self._try(lambda pool: pool.submit_to(conn, call, then, *args, **kwargs))

    def tune(self, capacity: int) -> None:
        """Change the capacity of each pool. ants: Tune."""
        for pool in self.pools:
            pool.tune(capacity)

    def release(self, timeout: float | None = None) -> bool:
        """As `WorkerPool.release`, with `timeout` seconds for all pools. ants: ReleaseTimeout."""
        check_patience(timeout)
        for pool in self.pools:
            pool.release(0)
        deadline = None if timeout is None else monotonic() + timeout
        ended = True
        for pool in self.pools:
            left = None if deadline is None else max(0.0, deadline - monotonic())
            ended = pool.release(left) and ended
        return ended

    def reboot(self) -> None:
        """Accept tasks again after `release`. ants: Reboot."""
        for pool in self.pools:
            pool.reboot()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """`release`, under the name that an Executor has for it."""
        self.release(None if wait else 0)

    def _try(self, give: Callable[[WorkerPool], R]) -> R:
        least = self._least_busy()
        first = least if self.strategy == "least_tasks" else self._next_in_turn()
        if not first.free and least.free:
            first = least
        try:
            return give(first)
        except PoolOverload:
            return give(self._least_busy())

    def _next_in_turn(self) -> WorkerPool:
        return self.pools[next(self._turns) % len(self.pools)]

    def _least_busy(self) -> WorkerPool:
        return min(self.pools, key=lambda pool: pool.running + pool.waiting)
