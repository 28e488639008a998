"""A worker pool at its edges: wrong arguments, misbehaving tasks, refusals of the system.

What it does when all goes well is in `test_g13_workers.py`.
"""

from __future__ import annotations

import gc
import logging
import platform
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, until
from ringnet.engine.workers import WorkerPool


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What keeps workers busy until it is set."""
    event = threading.Event()
    yield event
    event.set()


def occupy(pool: WorkerPool, gate: threading.Event) -> None:
    """All of its workers are busy when this returns."""
    inside = threading.Semaphore(0)

    def task() -> None:
        inside.release()
        assert gate.wait(WAIT)

    for _ in range(pool.capacity):
        pool.spawn(task)
    for _ in range(pool.capacity):
        assert inside.acquire(timeout=WAIT)


def aside(call: Callable[[], object]) -> Queue[Any]:
    """Where the result or the exception of a call on a thread of its own appears."""
    outcome: Queue[Any] = Queue()

    def run() -> None:
        try:
            outcome.put(call())
        except BaseException as error:
            outcome.put(error)

    threading.Thread(target=run).start()
    return outcome


def no_more_threads(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The system starts so many threads more, then refuses."""
    start = threading.Thread.start
    left = [after]

    def limited(thread: threading.Thread) -> None:
        if not left[0]:
            raise RuntimeError("can't start new thread")
        left[0] -= 1
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"capacity": 100_001}, "capacity is from 1 to 100000 threads"),
        ({"capacity": 1.0}, "capacity"),
        ({"capacity": 1, "idle_timeout": float("nan")}, "idle_timeout is from 0.0 to 86400.0 s"),
        ({"capacity": 1, "nonblocking": "no"}, "nonblocking is True or False, not 'no'"),
        ({"capacity": 1, "preallocate": 1}, "preallocate is True or False, not 1"),
        ({"capacity": 1, "name": 7}, "name is text, not 7"),
    ],
)
def test_wrong_options_raise_at_once(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ringnet.OptionError, match=says):
        WorkerPool(**arguments)


def test_an_error_handler_must_be_callable() -> None:
    with pytest.raises(TypeError, match="on_error"):
        WorkerPool(1, on_error="log it")  # type: ignore[arg-type]


def test_what_is_no_call_is_refused_at_the_call() -> None:
    nothing: Any = None
    with WorkerPool(1) as pool:
        for give in (
            lambda: pool.submit(nothing),
            lambda: pool.spawn(nothing),
            lambda: pool.submit_to(nothing, nothing, print),
            lambda: pool.submit_to(nothing, print, nothing),
        ):
            with pytest.raises(TypeError, match="is called"):
                give()
        assert (pool.running, pool.workers) == (0, 0)


@pytest.mark.parametrize("timeout", ["1", -1, float("nan"), float("inf"), True])
def test_a_wrong_timeout_does_not_release(timeout: Any) -> None:
    with WorkerPool(1) as pool:
        with pytest.raises(ringnet.OptionError, match="timeout is from 0"):
            pool.release(timeout)
        assert pool.submit(abs, -1).result(WAIT) == 1


def test_a_wrong_capacity_does_not_tune() -> None:
    with WorkerPool(2) as pool:
        with pytest.raises(ringnet.OptionError, match="capacity is from 1"):
            pool.tune(0)
        assert pool.capacity == 2


@pytest.mark.parametrize("mistake", [ValueError, SystemExit, KeyboardInterrupt])
def test_an_error_handler_that_raises_costs_no_worker(
    mistake: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def on_error(error: BaseException) -> None:
        raise mistake("in the error handler")

    with WorkerPool(1, on_error=on_error) as pool:
        pool.spawn(lambda: 1 / 0)
        assert pool.submit(abs, -1).result(WAIT) == 1
        until(lambda: pool.running == 0)
        assert pool.free == 1
    assert "on_error raised" in caplog.text
    assert "in the error handler" in caplog.text


def test_an_exit_in_a_task_ends_no_worker() -> None:
    def leave() -> None:
        raise SystemExit(3)

    errors: Queue[BaseException] = Queue()
    with WorkerPool(1, on_error=errors.put) as pool:
        assert isinstance(pool.submit(leave).exception(WAIT), SystemExit)
        pool.spawn(leave)
        assert isinstance(errors.get(timeout=WAIT), SystemExit)
        assert pool.submit(abs, -1).result(WAIT) == 1
        assert pool.workers == 1


@pytest.mark.skipif(platform.python_implementation() != "CPython", reason="frees by counting")
def test_a_failed_task_needs_no_garbage_collection() -> None:
    class Fails:
        def __call__(self) -> None:
            raise ValueError

    gc.disable()
    try:
        with WorkerPool(1) as pool:
            future = pool.submit(Fails())
            assert isinstance(future.exception(WAIT), ValueError)
        alive = weakref.ref(future)
        del future
        assert alive() is None
    finally:
        gc.enable()


def test_a_refused_thread_fails_the_submit_that_needed_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with WorkerPool(2) as pool:
        with monkeypatch.context() as patch:
            no_more_threads(patch, 0)
            with pytest.raises(RuntimeError, match="can't start"):
                pool.submit(abs, -1)
        assert (pool.running, pool.workers) == (0, 0)
        assert pool.submit(abs, -2).result(WAIT) == 2


def test_where_a_thread_is_refused_another_worker_does_it(
    monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    with WorkerPool(1) as pool:
        occupy(pool, gate)
        pool.tune(2)
        with monkeypatch.context() as patch:
            no_more_threads(patch, 0)
            future = pool.submit(abs, -1)
        assert not future.done()
        gate.set()
        assert future.result(WAIT) == 1


def test_preallocation_that_is_refused_raises_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = set(threading.enumerate())
    with monkeypatch.context() as patch:
        no_more_threads(patch, 2)
        with pytest.raises(RuntimeError, match="can't start"):
            WorkerPool(3, preallocate=True, idle_timeout=3600)
    until(lambda: set(threading.enumerate()) <= before)


def test_who_waits_hears_of_a_release_though_a_reboot_follows(gate: threading.Event) -> None:
    pool = WorkerPool(1)
    occupy(pool, gate)
    outcome = aside(lambda: pool.submit(abs, -1))
    until(lambda: pool.waiting == 1)
    assert not pool.release(0)
    pool.reboot()
    assert isinstance(outcome.get(timeout=WAIT), ringnet.PoolClosed)
    assert pool.waiting == 0
    gate.set()
    assert pool.submit(abs, -1).result(WAIT) == 1
    assert pool.release(WAIT)


def test_who_is_interrupted_passes_its_turn_on(
    monkeypatch: pytest.MonkeyPatch, gate: threading.Event
) -> None:
    pool = WorkerPool(1)
    occupy(pool, gate)
    wait = pool._has_room.wait
    interrupted = threading.Lock()

    def interruptible(timeout: float | None = None) -> bool:
        first = interrupted.acquire(blocking=False)
        done = wait(timeout)
        if first:
            raise KeyboardInterrupt
        return done

    monkeypatch.setattr(pool._has_room, "wait", interruptible)
    first = aside(lambda: pool.submit(abs, -1))
    until(lambda: pool.waiting == 1)
    second = aside(lambda: pool.submit(abs, -2).result(WAIT))
    until(lambda: pool.waiting == 2)
    gate.set()
    assert isinstance(first.get(timeout=WAIT), KeyboardInterrupt)
    assert second.get(timeout=WAIT) == 2
    assert pool.release(WAIT)


def test_the_last_of_many_who_wait_is_served(gate: threading.Event) -> None:
    pool = WorkerPool(1, max_blocking=20)
    occupy(pool, gate)
    outcomes = [aside(lambda: pool.submit(abs, -1).result(WAIT)) for _ in range(20)]
    until(lambda: pool.waiting == 20)
    with pytest.raises(ringnet.PoolOverload, match="max_blocking"):
        pool.submit(abs, -1)
    gate.set()
    assert [outcome.get(timeout=WAIT) for outcome in outcomes] == [1] * 20
    assert pool.release(WAIT)


def test_none_may_wait_where_max_blocking_is_0(gate: threading.Event) -> None:
    pool = WorkerPool(1, max_blocking=0)
    occupy(pool, gate)
    with pytest.raises(ringnet.PoolOverload, match="max_blocking"):
        pool.submit(abs, -1)
    gate.set()
    assert pool.release(WAIT)


def test_no_more_than_the_capacity_run_at_once() -> None:
    lock = threading.Lock()
    now, most = [0], [0]
    three = threading.Barrier(3)

    def task() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        three.wait(WAIT)  # so that three do run at once
        with lock:
            now[0] -= 1

    with WorkerPool(3) as pool:
        for future in [pool.submit(task) for _ in range(60)]:
            future.result(WAIT)
    assert most == [3]


def test_release_on_a_worker_of_its_own_does_not_wait() -> None:
    pool = WorkerPool(1)
    assert pool.submit(pool.release).result(WAIT) is False
    assert pool.release(WAIT)


def test_it_shuts_down_as_an_executor(gate: threading.Event) -> None:
    pool = WorkerPool(1)
    assert isinstance(pool, Executor)
    occupy(pool, gate)
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(ringnet.PoolClosed):
        pool.submit(abs, -1)
    assert pool.running == 1
    gate.set()
    pool.shutdown()
    assert (pool.running, pool.workers) == (0, 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_result_for_a_closed_connection_is_brought_back(
    backend: str, gate: threading.Event
) -> None:
    handler = Recorder()
    seen: Queue[Any] = Queue()
    with (
        WorkerPool(1) as pool,
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine,
    ):
        with dial(engine):
            conn = handler.expect("open")
            pool.submit_to(
                conn,
                lambda: gate.wait(WAIT),
                lambda *arguments: seen.put((*arguments, conn.loop.is_current)),
            )
        handler.expect("close")
        gate.set()
        assert seen.get(timeout=WAIT) == (conn, True, None, True)


def test_a_full_queue_loses_no_failure_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    handler = Recorder()
    ran: list[object] = []
    with (
        WorkerPool(1) as pool,
        ringnet.Engine(handler, "tcp://127.0.0.1:0", max_foreign_calls=1) as engine,
        dial(engine),
    ):
        conn = handler.expect("open")

        def fill() -> None:
            conn.loop.execute(lambda: None)  # the queue is full while this call runs
            pool.submit_to(conn, lambda: [][5], lambda *arguments: ran.append(arguments))
            until(lambda: pool.running == 0)

        with caplog.at_level(logging.ERROR):
            on_loop(conn.loop, fill)
    assert ran == []
    assert "is lost" in caplog.text
    assert "IndexError" in caplog.text  # what the task raised, not only that nobody hears of it
