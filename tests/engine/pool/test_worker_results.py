"""What workers did comes back to the connection; standard executors; several pools as one."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, receive, until
from pool_tools import Gate, fill, gated


@pytest.fixture
def gate() -> Iterator[Gate]:
    with gated() as made:
        yield made


class Works(Recorder):
    """Answers what a worker made of the bytes."""

    def __init__(self, pool: Any) -> None:
        super().__init__()
        self.pool = pool
        self.threads: set[int] = set()

    def on_traffic(self, conn: ringnet.Connection) -> None:
        self.pool.submit_to(conn, self.work, self.answer, conn.next())

    def work(self, data: bytes) -> bytes:
        self.threads.add(threading.get_ident())
        return data[::-1] if data != b"bad" else bytes(1 // 0)

    def answer(self, conn: ringnet.Connection, data: bytes | None, error: Any) -> None:
        assert threading.get_ident() == conn._loop.ident
        conn.write(data if data is not None else type(error).__name__.encode())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["one", "multi"])
def test_results_come_back_on_the_connections_thread(backend: str, kind: str, gate: Gate) -> None:
    pool: Any = ringnet.WorkerPool(2) if kind == "one" else ringnet.MultiPool(2, 2)
    handler = Works(pool)
    with (
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine) as client,
    ):
        for data, answer in ((b"abc", b"cba"), (b"bad", b"ZeroDivisionError")):
            client.sendall(data)
            assert receive(client, len(answer)) == answer
        assert engine.group.reactors[0].ident not in handler.threads
    assert pool.release(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_result_for_a_connection_that_has_closed_comes_too(backend: str, gate: Gate) -> None:
    """So that who counts what it has given out counts right."""
    handler, told = Recorder(), Queue[Any]()
    pool = ringnet.WorkerPool(1)
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine):
            conn = handler.expect("open")
            pool.submit_to(conn, gate.task, lambda *given: told.put((*given, conn.fileno())))
            until(lambda: gate.inside)
        assert handler.expect("close") is None
        gate.open.set()
        assert told.get(timeout=WAIT) == (conn, 1, None, -1)
    assert pool.release(WAIT)


@pytest.fixture(scope="module")
def executors() -> Iterator[dict[str, Executor]]:
    """The standard ones."""
    processes = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))
    with ThreadPoolExecutor(2) as threads, processes:
        yield {"threads": threads, "processes": processes}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_a_standard_executor_works_in_its_place(
    backend: str, kind: str, executors: dict[str, Executor]
) -> None:
    class Works(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            future = executors[kind].submit(conn.next().upper)
            future.add_done_callback(lambda done: conn.async_write(done.result()))

    with (
        ringnet.Engine(Works(), "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"abc")
        assert receive(client, 3) == b"ABC"


def test_a_result_for_an_engine_that_has_stopped_is_logged(
    gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder()
    pool = ringnet.WorkerPool(1)
    with ringnet.Engine(handler, "tcp://127.0.0.1:0") as engine, dial(engine):
        conn = handler.expect("open")
        pool.submit_to(conn, gate.task, lambda conn, result, error: None)
    gate.open.set()
    assert pool.release(WAIT)
    assert "is lost" in caplog.text


@pytest.mark.parametrize("strategy", ["round_robin", "least_tasks"])
def test_a_multi_pool(strategy: str, gate: Gate) -> None:
    pool = ringnet.MultiPool(3, 2, strategy=strategy, nonblocking=True)
    assert (pool.capacity, pool.free, pool.running, pool.waiting) == (6, 6, 0, 0)
    fill(pool, gate, 3)
    assert [one.running for one in pool.pools] == [1, 1, 1]
    fill(pool, gate, 3)
    assert [one.running for one in pool.pools] == [2, 2, 2]
    with pytest.raises(ringnet.PoolOverload):
        pool.submit(print)
    pool.tune(3)
    assert pool.free == 3
    assert not pool.release(0.01)
    gate.open.set()
    assert pool.release(WAIT)
    assert pool.is_closed
    pool.reboot()
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
    assert pool.release(WAIT)


def test_a_multi_pool_goes_where_there_is_room(gate: Gate) -> None:
    pool = ringnet.MultiPool(2, 2)
    for _ in range(2):
        pool.pools[0].spawn(gate.task)
    for _ in range(2):
        pool.spawn(gate.task)
    assert [one.running for one in pool.pools] == [2, 2]
    gate.open.set()
    assert pool.release(WAIT)


def test_a_strategy_that_is_none() -> None:
    with pytest.raises(ringnet.OptionError, match="did you mean 'least_tasks'"):
        ringnet.MultiPool(1, 1, strategy="least_task")


def test_workers_of_a_full_multi_pool_are_refused_instead_of_waiting(gate: Gate) -> None:
    """They would wait for one another for ever."""
    pool = ringnet.MultiPool(2, 1)
    both = threading.Barrier(2)

    def submits() -> str:
        both.wait(WAIT)
        try:
            pool.submit(int)
        except ringnet.PoolOverload:
            both.wait(WAIT)
            return "refused"
        return "accepted"

    tasks = [pool.submit(submits) for _ in range(2)]
    assert [task.result(WAIT) for task in tasks] == ["refused", "refused"]
    assert pool.release(WAIT)


def test_a_multi_pool_makes_its_threads_before(gate: Gate) -> None:
    pool = ringnet.MultiPool(2, 3, preallocate=True)
    assert [one.workers for one in pool.pools] == [3, 3]
    assert pool.release(WAIT)
