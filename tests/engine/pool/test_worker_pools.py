"""Worker pools, in the image of ants."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Iterator
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import WAIT, Recorder, on_loop, until
from pool_tools import Gate, fill, gated


@pytest.fixture
def gate() -> Iterator[Gate]:
    with gated() as made:
        yield made


def test_results_and_exceptions_come_in_futures(gate: Gate) -> None:
    pool = ringnet.WorkerPool(3)
    assert pool.submit(divmod, 7, 3).result(WAIT) == (2, 1)
    assert pool.submit(int, "ff", base=16).result(WAIT) == 255
    assert isinstance(pool.submit(lambda: 1 / 0).exception(WAIT), ZeroDivisionError)
    assert pool.release(WAIT)


def test_counters(gate: Gate) -> None:
    pool = ringnet.WorkerPool(3)
    assert (pool.capacity, pool.running, pool.free, pool.waiting, pool.workers) == (3, 0, 3, 0, 0)
    fill(pool, gate, 2)
    assert (pool.running, pool.free, pool.workers) == (2, 1, 2)
    gate.open.set()
    until(lambda: pool.running == 0)
    assert pool.free == 3
    assert pool.release(WAIT)
    assert pool.workers == 0


def test_nonblocking_is_refused(gate: Gate) -> None:
    pool = ringnet.WorkerPool(2, nonblocking=True)
    fill(pool, gate, 2)
    with pytest.raises(ringnet.PoolOverload, match="all 2 workers are busy"):
        pool.submit(print)
    assert pool.running == 2
    gate.open.set()
    until(lambda: pool.free == 2)
    assert pool.submit(abs, -1).result(WAIT) == 1
    assert pool.release(WAIT)


def test_blocking_waits_and_the_waiting_have_a_bound(gate: Gate) -> None:
    pool = ringnet.WorkerPool(1, max_blocking=2)
    fill(pool, gate, 1)
    results: Queue[Any] = Queue()

    def wait() -> None:
        results.put(pool.submit(abs, -5).result(WAIT))

    waiters = [threading.Thread(target=wait) for _ in range(2)]
    for waiter in waiters:
        waiter.start()
    until(lambda: pool.waiting == 2)
    with pytest.raises(ringnet.PoolOverload, match="max_blocking"):
        pool.submit(print)
    assert results.empty()
    gate.open.set()
    assert [results.get(timeout=WAIT) for _ in waiters] == [5, 5]
    assert pool.release(WAIT)


def test_a_worker_of_the_pool_does_not_wait_for_itself(gate: Gate) -> None:
    pool = ringnet.WorkerPool(1)
    assert isinstance(pool.submit(lambda: pool.submit(print)).exception(WAIT), ringnet.PoolOverload)
    assert pool.release(WAIT)


def test_a_reactor_does_not_wait(gate: Gate) -> None:
    pool = ringnet.WorkerPool(1)
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0") as engine:
        fill(pool, gate, 1)
        with pytest.raises(ringnet.PoolOverload):
            on_loop(engine.reactors[0], lambda: pool.submit(print))
        gate.open.set()
    assert pool.release(WAIT)


def test_idle_workers_are_purged(gate: Gate) -> None:
    pool = ringnet.WorkerPool(8, idle_timeout=0.05)
    fill(pool, gate, 8)
    assert pool.workers == 8
    gate.open.set()
    until(lambda: pool.workers == 0)
    assert pool.submit(abs, -1).result(WAIT) == 1
    assert pool.release(WAIT)


def test_workers_stay_where_they_are_told_to(gate: Gate) -> None:
    """ants: WithDisablePurge."""
    pool = ringnet.WorkerPool(3, idle_timeout=None)
    fill(pool, gate, 3)
    gate.open.set()
    until(lambda: pool.running == 0)
    brief = ringnet.WorkerPool(1, idle_timeout=0.01)
    assert brief.submit(abs, -1).result(WAIT) == 1
    until(lambda: brief.workers == 0)  # these had time to go
    assert pool.workers == 3
    assert brief.release(WAIT)
    assert pool.release(WAIT)  # and go at the end


def test_preallocation(gate: Gate) -> None:
    pool = ringnet.WorkerPool(5, preallocate=True)
    assert pool.workers == 5
    fill(pool, gate, 5)
    assert pool.workers == 5
    gate.open.set()
    assert pool.release(WAIT)


def test_a_system_without_threads_is_an_overload(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is accepted then, whether or not there are other workers."""

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    pool = ringnet.WorkerPool(3)
    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", refuse)
        for call in (pool.preallocate, lambda: pool.submit(gate.task)):
            with pytest.raises(ringnet.PoolOverload, match="can't start new thread"):
                call()
        assert (pool.running, pool.workers) == (0, 0)
    busy = pool.submit(gate.task)
    with monkeypatch.context() as without_threads:
        without_threads.setattr(threading.Thread, "start", refuse)
        with pytest.raises(ringnet.PoolOverload, match="can't start new thread"):
            pool.submit(print)
        assert (pool.running, pool.workers) == (1, 1)
    gate.open.set()
    assert busy.result(WAIT) == 1
    assert pool.submit(len, "abc").result(WAIT) == 3
    assert pool.release(WAIT)


def test_there_are_never_more_workers_than_the_capacity() -> None:
    """Also where they have only begun, or have just ended a task."""
    for _ in range(100):
        pool = ringnet.WorkerPool(3, preallocate=True)
        for _ in range(20):
            pool.spawn(int)
            assert pool.workers <= 3
        assert pool.release(WAIT)


def test_tuning_up_lets_the_waiting_go_on(gate: Gate) -> None:
    pool = ringnet.WorkerPool(1)
    fill(pool, gate, 1)
    waiter = threading.Thread(target=fill, args=(pool, gate, 3))
    waiter.start()
    until(lambda: pool.waiting == 1)
    pool.tune(4)
    waiter.join(WAIT)
    assert not waiter.is_alive()
    assert pool.running == 4
    gate.open.set()
    assert pool.release(WAIT)


def test_tuning_down_ends_workers_when_their_task_is_over(gate: Gate) -> None:
    pool = ringnet.WorkerPool(4)
    fill(pool, gate, 4)
    pool.tune(1)
    assert (pool.running, pool.free, pool.workers) == (4, 0, 4)
    gate.open.set()
    until(lambda: pool.workers == 1)
    assert pool.release(WAIT)


def test_the_error_handler(gate: Gate, caplog: pytest.LogCaptureFixture) -> None:
    errors: Queue[BaseException] = Queue()
    pool = ringnet.WorkerPool(2, on_error=errors.put)
    pool.spawn(lambda: 1 / 0)
    assert isinstance(errors.get(timeout=WAIT), ZeroDivisionError)
    assert pool.release(WAIT)
    silent = ringnet.WorkerPool(2)
    silent.spawn(lambda: [][1])
    until(lambda: "IndexError" in caplog.text)
    assert silent.submit(abs, -2).result(WAIT) == 2
    assert silent.release(WAIT)
    assert {record.name for record in caplog.records} == {"ringnet"}
    caplog.clear()
    with ringnet.WorkerPool(2, logger=logging.getLogger("mine")) as pool:
        pool.spawn(lambda: [][1])
    assert [record.name for record in caplog.records] == ["mine"]


def test_release_with_a_timeout_and_reboot(gate: Gate) -> None:
    pool = ringnet.WorkerPool(1)
    fill(pool, gate, 1)
    refused: Queue[type] = Queue()

    def wait() -> None:
        try:
            pool.submit(print)
        except ringnet.PoolClosed as error:
            refused.put(type(error))

    waiter = threading.Thread(target=wait)
    waiter.start()
    until(lambda: pool.waiting == 1)
    assert not pool.release(0.02)
    assert refused.get(timeout=WAIT) is ringnet.PoolClosed
    waiter.join()
    with pytest.raises(ringnet.PoolClosed):
        pool.submit(print)
    gate.open.set()
    assert pool.release(WAIT)
    assert pool.is_closed
    pool.reboot()
    assert pool.submit(abs, -3).result(WAIT) == 3
    assert pool.release(WAIT)


def test_it_is_an_executor(gate: Gate) -> None:
    with ringnet.WorkerPool(3) as pool:
        assert list(pool.map(abs, range(-50, 0))) == list(range(50, 0, -1))

        async def use() -> int:
            return await asyncio.get_running_loop().run_in_executor(pool, abs, -4)

        assert asyncio.run(use()) == 4
    assert pool.is_closed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"capacity": 0}, "capacity must be from 1 to 100000 threads"),
        ({"capacity": True}, "capacity"),
        ({"capacity": 1, "max_blocking": -1}, "max_blocking"),
        ({"capacity": 1, "idle_timeout": "1"}, "idle_timeout must be from"),
        ({"capacity": 1, "idle_timeout": -1.0}, "idle_timeout must be from"),
    ],
)
def test_wrong_options(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ringnet.OptionError, match=says):
        ringnet.WorkerPool(**arguments)


def test_objects_of_the_wrong_kind() -> None:
    with pytest.raises(TypeError, match="on_error must be callable"):
        ringnet.WorkerPool(1, on_error=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"logging\.Logger"):
        ringnet.WorkerPool(1, logger="mine")  # type: ignore[arg-type]


def test_under_stress_each_task_runs_once(gate: Gate) -> None:
    pool = ringnet.WorkerPool(4, idle_timeout=0.001)
    counts: Queue[int] = Queue()
    stop = threading.Event()

    def retune() -> None:
        chance = random.Random(7)
        while not stop.wait(0.0005):
            pool.tune(chance.randint(1, 8))

    def submit(first: int) -> None:
        for number in range(first, first + 500):
            pool.spawn(counts.put, number)

    tuner = threading.Thread(target=retune)
    tuner.start()
    threads = [threading.Thread(target=submit, args=(n * 500,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT)
    stop.set()
    tuner.join()
    assert pool.release(WAIT)
    assert sorted(counts.get_nowait() for _ in range(4000)) == list(range(4000))
    assert counts.empty()


def test_an_error_handler_that_raises_costs_no_worker(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    def on_error(error: BaseException) -> None:
        raise SystemExit("in the error handler")

    pool = ringnet.WorkerPool(1, on_error=on_error)
    pool.spawn(lambda: 1 / 0)
    assert pool.submit(abs, -1).result(WAIT) == 1
    until(lambda: pool.free == 1)
    assert "on_error raised" in caplog.text
    assert pool.release(WAIT)
