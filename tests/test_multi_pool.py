"""Several worker pools as one, at the edges. The usual is in `test_g13_workers.py`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import ringnet
from engine_tools import WAIT, Recorder, on_loop, until
from ringnet.engine.multipool import MultiPool

STRATEGIES = pytest.mark.parametrize("strategy", ["round_robin", "least_tasks"])


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)


def occupy(pool: MultiPool, gate: threading.Event) -> None:
    """All of its workers are busy when this returns."""
    inside = threading.Semaphore(0)

    def task() -> None:
        inside.release()
        assert gate.wait(WAIT)

    count = pool.free
    for _ in range(count):
        pool.spawn(task)
    for _ in range(count):
        assert inside.acquire(timeout=WAIT)


@pytest.mark.parametrize("preallocate", [False, True])
@STRATEGIES
def test_its_workers_never_wait_for_each_other(strategy: str, preallocate: bool) -> None:
    pool = MultiPool(3, 1, strategy=strategy, preallocate=preallocate)
    all_busy = threading.Barrier(3)

    def task() -> str:
        all_busy.wait(WAIT)
        refused = ""
        try:
            pool.submit(abs, -1)  # of all three at once: who waited would wait for good
        except ringnet.PoolOverload:
            refused = "refused"
        all_busy.wait(WAIT)
        return refused

    futures = [pool.submit(task) for _ in range(3)]
    assert [future.result(WAIT) for future in futures] == ["refused"] * 3
    assert pool.release(WAIT)


def test_its_workers_may_wait_for_another_pool() -> None:
    first, second = MultiPool(1, 1), ringnet.WorkerPool(1)
    gate = threading.Event()
    second.spawn(gate.wait, WAIT)
    future = first.submit(lambda: second.submit(abs, -1).result(WAIT))
    until(lambda: second.waiting == 1)
    gate.set()
    assert future.result(WAIT) == 1
    assert first.release(WAIT)
    assert second.release(WAIT)


def test_two_workers_may_release_it_at_once() -> None:
    pool = MultiPool(2, 1)
    both = threading.Barrier(2)

    def task() -> bool:
        both.wait(WAIT)
        return pool.release()

    futures = [pool.submit(task) for _ in range(2)]
    assert [future.result(WAIT) for future in futures] == [False, False]
    assert pool.release(WAIT)


@STRATEGIES
def test_a_reactor_does_not_wait(strategy: str) -> None:
    pool = MultiPool(2, 1, strategy=strategy)
    gate = threading.Event()
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0") as engine:
        occupy(pool, gate)
        with pytest.raises(ringnet.PoolOverload):
            on_loop(engine.reactors[0], lambda: pool.submit(abs, -1))
        assert pool.waiting == 0
        gate.set()
    assert pool.release(WAIT)


def test_waiting_has_a_bound_over_all_pools() -> None:
    pool = MultiPool(2, 1, max_blocking=1)
    gate = threading.Event()
    occupy(pool, gate)
    waiters = [threading.Thread(target=pool.submit, args=(abs, -1)) for _ in range(2)]
    for number, waiter in enumerate(waiters, 1):
        waiter.start()
        until(lambda number=number: pool.waiting == number)
    assert [one.waiting for one in pool.pools] == [1, 1]
    with pytest.raises(ringnet.PoolOverload, match="max_blocking"):
        pool.submit(abs, -1)
    gate.set()
    for waiter in waiters:
        waiter.join(WAIT)
    assert pool.release(WAIT)


def test_turns_are_taken() -> None:
    pool = MultiPool(3, 4)
    gate = threading.Event()
    for _ in range(6):
        pool.spawn(gate.wait, WAIT)
    assert [one.running for one in pool.pools] == [2, 2, 2]
    assert (pool.capacity, pool.running, pool.free) == (12, 6, 6)
    gate.set()
    assert pool.release(WAIT)


def test_the_least_busy_gets_it() -> None:
    pool = MultiPool(3, 4, strategy="least_tasks")
    gate = threading.Event()
    for number, busy in ((0, 2), (2, 1)):
        for _ in range(busy):
            pool.pools[number].spawn(gate.wait, WAIT)
    pool.spawn(gate.wait, WAIT)
    assert [one.running for one in pool.pools] == [2, 1, 1]
    gate.set()
    assert pool.release(WAIT)


@pytest.mark.parametrize("timeout", ["1", -1, float("nan")])
def test_a_wrong_timeout_releases_none(timeout: Any) -> None:
    pool = MultiPool(2, 1)
    with pytest.raises(ringnet.OptionError, match="timeout is from 0"):
        pool.release(timeout)
    assert not any(one.is_closed for one in pool.pools)
    assert pool.release(WAIT)


def test_release_has_one_timeout_for_all() -> None:
    pool = MultiPool(4, 1)
    gate = threading.Event()
    occupy(pool, gate)
    assert pool.release(0.05) is False
    for one in pool.pools:
        with pytest.raises(ringnet.PoolClosed):
            one.submit(abs, -1)
    gate.set()
    assert pool.release(WAIT)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"pools": 0, "capacity": 1}, "pools is from 1 to 10000 pools, not 0"),
        ({"pools": True, "capacity": 1}, "pools"),
        ({"pools": 1, "capacity": 0}, "capacity is from 1"),
        ({"pools": 1, "capacity": 1, "strategy": 3}, "strategy"),
        ({"pools": 1, "capacity": 1, "nonblocking": None}, "nonblocking"),
    ],
)
def test_wrong_options_raise_at_once(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ringnet.OptionError, match=says):
        MultiPool(**arguments)
