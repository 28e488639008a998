"""Calls and timers on an event loop."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from time import monotonic

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, until


@contextmanager
def a_loop(backend: str) -> Iterator[ringnet.EventLoop]:
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine:
        yield engine.reactors[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_from_eight_threads_keep_the_order_of_each(backend: str) -> None:
    ran: list[tuple[int, int]] = []
    with a_loop(backend) as loop:

        def ask(thread: int) -> None:
            for number in range(500):
                loop.execute(partial(ran.append, (thread, number)))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        until(lambda: len(ran) == 4000)
    for n in range(8):
        assert [number for thread, number in ran if thread == n] == list(range(500))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("on_the_loop", [True, False])
def test_none_fires_early_and_all_on_the_loop(backend: str, on_the_loop: bool) -> None:
    fired: list[tuple[float, int]] = []
    with a_loop(backend) as loop:

        def note(due: float) -> None:
            fired.append((monotonic() - due, threading.get_ident()))

        def plan() -> None:
            for delay in (0.05, 0.0, 0.02, 0.001, 0.03):
                loop.schedule(delay, partial(note, monotonic() + delay))

        on_loop(loop, plan) if on_the_loop else plan()
        until(lambda: len(fired) == 5)
        assert all(late >= 0 and thread == loop._reactor.ident for late, thread in fired)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hundred_thousand_timers(backend: str) -> None:
    ran: list[int] = []
    with a_loop(backend) as loop:

        def plan() -> list[ringnet.Timer]:
            return [loop.schedule(3600, lambda: ran.append(0)) for _ in range(100_000)]

        timers = on_loop(loop, plan)
        first = loop.schedule(0.01, lambda: ran.append(1))
        until(lambda: ran == [1])
        assert not first.pending

        def cancel_all() -> int:
            for timer in timers:
                timer.cancel()
            return len(loop._reactor.timers.heap)

        assert on_loop(loop, cancel_all) < 1000  # given back, and not only marked
        assert ran == [1]


@pytest.mark.parametrize("backend", BACKENDS)
def test_twenty_thousand_timers_all_fire_in_order_and_none_early(backend: str) -> None:
    chance = random.Random(12)
    delays = [chance.uniform(0.0, 0.3) for _ in range(20_000)]
    times: list[float] = []  # of firing
    fired: list[int] = []
    with a_loop(backend) as loop:

        def note(number: int) -> None:
            times.append(monotonic())
            fired.append(number)

        def plan() -> list[ringnet.Timer]:
            return [loop.schedule(d, partial(note, n)) for n, d in enumerate(delays)]

        begun = monotonic()
        timers = on_loop(loop, plan)
        until(lambda: len(fired) == 20_000)
    assert all(timer.when >= begun + d for timer, d in zip(timers, delays, strict=True))
    due = [timers[number].when for number in fired]
    assert due == sorted(due)
    assert all(at >= when for at, when in zip(times, due, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_from_a_call_of_the_same_moment(backend: str) -> None:
    ran: list[str] = []
    with a_loop(backend) as loop:

        def plan() -> None:
            def first() -> None:
                ran.append("first")
                second.cancel()

            loop.schedule(0, first)
            second = loop.schedule(0, lambda: ran.append("second"))
            loop.schedule(0, lambda: ran.append("third"))

        on_loop(loop, plan)
        until(lambda: "third" in ran)
    assert ran == ["first", "third"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_cancelling_from_another_thread(backend: str) -> None:
    """What another thread asks for in one go, the loop gets in one go: cancelled in time."""
    ran: list[int] = []
    with a_loop(backend) as loop:
        asked, held, done = threading.Event(), threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            assert asked.wait(WAIT)

        loop.execute(hold)
        assert held.wait(WAIT)
        for _ in range(100):
            loop.schedule(0, lambda: ran.append(1)).cancel()
        loop.schedule(0, done.set)
        asked.set()
        assert done.wait(WAIT)
        until(lambda: len(loop._reactor.timers) == 0)
    assert ran == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_repeating_timers(backend: str) -> None:
    times: list[float] = []
    with a_loop(backend) as loop:
        begun = monotonic()
        timer = loop.repeat(0.02, lambda: times.append(monotonic()))
        until(lambda: len(times) >= 5)
        timer.cancel()
        on_loop(loop, lambda: None)
        count = len(times)
        assert all(at - begun >= 0.02 * (n + 1) - 1e-6 for n, at in enumerate(times))
        done = threading.Event()
        loop.schedule(0.06, done.set)
        assert done.wait(WAIT)
        assert len(times) == count
        assert not timer.pending


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_repeating_timer_cancels_itself(backend: str) -> None:
    ran: list[int] = []
    with a_loop(backend) as loop:

        def tick() -> None:
            ran.append(1)
            if len(ran) == 3:
                timer.cancel()

        timer = loop.repeat(0.001, tick)
        until(lambda: not timer.pending)
        done = threading.Event()
        loop.schedule(0.02, done.set)
        assert done.wait(WAIT)
    assert len(ran) == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_that_raises_harms_nothing(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine:
        loop = engine.reactors[0]
        after = threading.Event()
        loop.schedule(0, lambda: 1 / 0)
        loop.execute(lambda: 1 / 0)
        again: list[int] = []
        repeated = loop.repeat(0.001, lambda: (again.append(1), 1 / 0))
        until(lambda: len(again) >= 3)  # it goes on
        on_loop(loop, repeated.cancel)
        loop.schedule(0.01, after.set)
        assert after.wait(WAIT)
        with dial(engine) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"
    # Each once: what goes on is said once in a while.
    assert caplog.text.count("ZeroDivisionError: division by zero") == 3


@pytest.mark.parametrize("backend", BACKENDS)
def test_timers_that_are_far_away(backend: str) -> None:
    """Further than a system call can wait: 25 days of milliseconds, or the range of time_t."""
    with a_loop(backend) as loop:
        for delay in (1e30, 1e10, 25 * 86_400.0):
            timer = loop.schedule(delay, print)
            for _ in range(3):
                on_loop(loop, lambda: None)  # it goes on
            assert timer.pending
        ran = threading.Event()
        loop.schedule(0.01, ran.set)
        assert ran.wait(WAIT)


@pytest.mark.parametrize(
    ("delay", "error"), [(-1, ValueError), ("1", TypeError), (float("nan"), ValueError)]
)
def test_delays_that_are_none(delay: float, error: type[Exception]) -> None:
    with a_loop("epoll") as loop:
        with pytest.raises(error, match="delay must be"):
            loop.schedule(delay, print)
        with pytest.raises(ValueError, match="more than 0"):
            loop.repeat(0, print)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_has_stopped_takes_no_more(backend: str) -> None:
    with a_loop(backend) as loop:
        timer = loop.schedule(3600, print)
    assert timer.pending
    timer.cancel()  # as who tidies up does; it is no mistake
    assert not timer.pending
    with pytest.raises(ringnet.ConnectionClosed):
        loop.schedule(0, print)
    with pytest.raises(ringnet.ConnectionClosed):
        loop.execute(print)
