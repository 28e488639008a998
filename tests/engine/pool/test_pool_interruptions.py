"""A worker pool that is used by who interrupts it, at any line, as a handler of a signal does."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from types import FrameType

import interruption_tools
import pytest
import ringnet
from engine_tools import WAIT, until
from interruption_tools import at_each_line, bounded
from pool_tools import Gate, fill, gated
from ringnet.engine.base import bells
from ringnet.engine.base.bells import Bells, Latch
from ringnet.engine.pool import tasks, workers

Interruption = partial(
    interruption_tools.Interruption, {bells.__file__, tasks.__file__, workers.__file__}
)


@pytest.mark.parametrize("capacity", [1, 2, 3])
@pytest.mark.parametrize("nonblocking", [True, False])
@pytest.mark.parametrize("idle", [True, False])
def test_submit_in_submit(capacity: int, nonblocking: bool, idle: bool) -> None:
    """Both are accepted where there is room for both; else one of them is refused, and one waits
    for nothing that it holds up itself."""

    def trial(line: int) -> bool:
        pool = ringnet.WorkerPool(capacity, nonblocking=nonblocking, preallocate=idle)
        inner = Interruption(line, lambda: pool.submit(abs, -2))
        outer = inner.during(lambda: pool.submit(abs, -1))
        accepted = 0
        for outcome, value in ((outer, 1), (inner.outcome, 2)):
            if isinstance(outcome, Future):
                assert outcome.result(WAIT) == value
                accepted += 1
            elif outcome is not None:
                assert isinstance(outcome, ringnet.PoolOverload)
        is_over = inner.left > 0
        assert accepted >= (1 if capacity == 1 or is_over else 2)
        until(lambda: pool.running == 0)
        assert pool.free == capacity
        assert pool.workers <= capacity
        assert pool.release(WAIT)
        return not is_over

    bounded(lambda: at_each_line(trial))


CALLS: dict[str, Callable[[ringnet.WorkerPool], object]] = {
    "submit": lambda pool: pool.submit(abs, -1),
    "spawn": lambda pool: pool.spawn(abs, -1),
    "tune up": lambda pool: pool.tune(6),
    "tune down": lambda pool: pool.tune(1),
    "release": lambda pool: pool.release(0),
    "preallocate": lambda pool: pool.preallocate(),
    "count": lambda pool: (pool.running, pool.free, pool.waiting, pool.workers, repr(pool)),
}


@pytest.mark.parametrize("outer", CALLS)
@pytest.mark.parametrize("inner", CALLS)
def test_anything_in_anything(outer: str, inner: str) -> None:
    def trial(line: int) -> bool:
        pool = ringnet.WorkerPool(3)
        interruption = Interruption(line, partial(CALLS[inner], pool))
        interruption.during(partial(CALLS[outer], pool))
        pool.reboot()
        until(lambda: pool.running == 0)
        assert pool.free == pool.capacity
        assert pool.submit(abs, -7).result(WAIT) == 7
        assert pool.release(WAIT)
        return interruption.left <= 0

    bounded(lambda: at_each_line(trial))


@pytest.mark.parametrize("call", ["submit", "tune up", "count"])
def test_who_interrupts_a_worker_loses_no_task(call: str) -> None:
    """Between a task and the next one, as `__del__` does."""

    def trial(line: int) -> bool:
        pool = ringnet.WorkerPool(1, idle_timeout=0.0)
        inner = Interruption(line, partial(CALLS[call], pool))

        def task() -> None:
            frame: FrameType | None = sys._getframe()
            while frame is not None:
                frame.f_trace = inner.trace  # type: ignore[assignment]
                frame = frame.f_back
            sys.settrace(inner.trace)

        pool.submit(task).result(WAIT)
        until(lambda: pool.running == 0)
        if isinstance(inner.outcome, Future):
            assert inner.outcome.result(WAIT) == 1
        assert pool.submit(abs, -7).result(WAIT) == 7
        assert pool.release(WAIT)
        return inner.left <= 0

    bounded(lambda: at_each_line(trial))


@pytest.fixture
def gate() -> Iterator[Gate]:
    with gated() as made:
        yield made


def test_who_interrupts_one_that_waits_is_refused(gate: Gate) -> None:
    """On the main thread, by a signal, while it waits for room."""
    pool = ringnet.WorkerPool(1)
    outcomes: list[object] = []

    def strike(number: int, frame: FrameType | None) -> None:
        try:
            pool.submit(abs, -1)
        except ringnet.PoolOverload as error:
            outcomes.append(error)
        gate.open.set()

    def look() -> None:
        until(lambda: pool.waiting == 1)
        signal.pthread_kill(main, signal.SIGUSR1)

    main = threading.main_thread().ident
    assert main is not None
    assert threading.get_ident() == main
    before = signal.signal(signal.SIGUSR1, strike)
    try:
        fill(pool, gate, 1)
        striker = threading.Thread(target=look)
        striker.start()
        assert pool.submit(abs, -3).result(WAIT) == 3
        striker.join(WAIT)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert len(outcomes) == 1
    assert pool.release(WAIT)


STORM = """
import gc, signal, sys
from time import monotonic
import ringnet

pool = {pool}
accepted = refused = 0
class Cycle:
    def __init__(self):
        self.me = self
    def __del__(self):
        give(0)
def give(number, frame=None):
    global accepted, refused
    try:
        pool.submit(abs, -1)
        accepted += 1
    except ringnet.PoolOverload:
        refused += 1
    except ringnet.PoolClosed:
        pass  # a cycle that was left
signal.signal(signal.SIGALRM, give)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
gc.set_threshold(50)
left, end = {rounds}, monotonic() + 20
while left > 0 or (accepted <= 1000 and monotonic() < end):  # how many are, the scheduler decides
    left -= 1
    Cycle()
    give(0)
signal.setitimer(signal.ITIMER_REAL, 0)
gc.disable()
print(accepted > 1000, pool.release(20), flush=True)
"""


@pytest.mark.parametrize(
    ("pool", "rounds"),
    [
        ("ringnet.WorkerPool(2)", 20_000),
        ("ringnet.WorkerPool(3, nonblocking=True, idle_timeout=0.0)", 4_000),  # a thread for each
        ("ringnet.MultiPool(2, 2)", 20_000),
    ],
)
def test_signals_and_the_collector_give_work(pool: str, rounds: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STORM.format(pool=pool, rounds=rounds)],
        capture_output=True,
        text=True,
        timeout=3 * WAIT,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True True\n", "")


def test_a_latch_interrupted_at_each_line() -> None:
    def trial(line: int) -> bool:
        latch = Latch()
        inner = Interruption(line, latch.set)
        assert inner.during(lambda: latch.wait(0.02)) is (inner.left <= 0) or inner.left <= 0
        assert latch.is_set() is (inner.left <= 0)
        assert latch.wait(0) is latch.is_set()
        return inner.left <= 0

    bounded(lambda: at_each_line(trial))


def test_no_ring_is_lost() -> None:
    """Each token that is given reaches one of those who wait."""
    bells_ = Bells()
    tokens: list[object] = []
    got: list[object] = []

    def take() -> bool:
        try:
            got.append(tokens.pop())
        except IndexError:
            return False
        return True

    threads = [
        threading.Thread(target=lambda: [bells_.wait_for(take, WAIT) for _ in range(500)])
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for _ in range(4000):
        tokens.append(object())
        bells_.ring()
    for thread in threads:
        thread.join(WAIT)
    assert len(got) == 4000
