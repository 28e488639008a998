"""Timers that repeat, and those that other threads make and cancel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread, get_ident
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, Recorder, on_loop, until
from ringnet.engine.base import timers as timers_module
from ringnet.engine.base.timers import Timers


class Posted:
    """A loop on the thread of the test, which looks at what was posted when it is told to."""

    def __init__(self) -> None:
        self.ident = get_ident()
        self.calls: list[tuple[Callable[..., object], tuple[Any, ...]]] = []

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        self.calls.append((call, arguments))

    def look(self) -> None:
        calls, self.calls = self.calls, []
        for call, arguments in calls:
            call(*arguments)


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(timers_module, "monotonic", made)
    return made


def run_due(timers: Timers) -> None:
    for call in timers.due():
        call()


@pytest.mark.parametrize("missed", [0, 1, 2, 7, 1_000_000])
def test_what_was_missed_is_left_out_and_the_phase_stays(clock: Clock, missed: int) -> None:
    timers, ran = Timers(Posted()), []
    timers.add(1.0, lambda: ran.append(clock.now), 1.0)
    clock.now = 1_001.0
    run_due(timers)
    clock.now = 1_002.25 + missed  # busy meanwhile
    run_due(timers)
    run_due(timers)
    assert ran == [1_001.0, 1_002.25 + missed]
    assert timers.timeout() == 0.75  # the next whole second
    clock.now += 0.75
    run_due(timers)
    assert len(ran) == 3
    assert timers.timeout() == 1.0


def test_one_that_is_hardly_late_does_not_drift(clock: Clock) -> None:
    timers, ran = Timers(Posted()), []
    timer = timers.add(0.1, lambda: ran.append(clock.now), 0.1)
    start = timer.when
    for number in range(1, 1_001):
        clock.now = start + (number - 1) * 0.1 + 0.05
        run_due(timers)
    assert len(ran) == 1_000
    assert abs(timer.when - (start + 100.0)) < 1e-6


@pytest.mark.parametrize("every", [5e-324, 1e-300, 1e-12, 1e300])
def test_the_shortest_and_the_longest(clock: Clock, every: float) -> None:
    """Each runs at most once in a turn, and nothing overflows."""
    timers, ran = Timers(Posted()), []
    timers.add(every, lambda: ran.append(1), every)
    for _ in range(3):
        run_due(timers)
        clock.now += 1.0
    assert len(ran) == (0 if every > 1 else 3) or every < 1e-9
    assert len(timers) == 1


@contextmanager
def elsewhere(loop: Posted) -> Iterator[None]:
    """As on another thread."""
    loop.ident, before = 0, loop.ident
    try:
        yield
    finally:
        loop.ident = before


@pytest.mark.parametrize("order", ["cancel, look", "look, cancel", "cancel, cancel, look"])
def test_cancelled_before_the_loop_saw_it(order: str) -> None:
    loop = Posted()
    timers = Timers(loop)
    with elsewhere(loop):
        timer = timers.add(1_000, print)
    for step in order.split(", "):
        timer.cancel() if step == "cancel" else loop.look()
    assert not timer.pending
    assert len(timers) == 0
    assert timers.timeout() is None
    assert len(timers) == 0
    kept = timers.add(1_000, print)
    assert len(timers) == 1
    kept.cancel()
    assert len(timers) == 0


def test_many_made_and_cancelled_on_several_threads_are_counted() -> None:
    loop = Posted()
    timers = Timers(loop)
    made: list[Any] = []
    for number in range(1_000):
        with elsewhere(loop):
            made.append(timers.add(1_000 + number, print, 1.0 if number % 3 else 0.0))
        if number % 2:
            made[-1].cancel()
        if number % 5 == 0:
            loop.look()
        if number % 7 == 0:
            with elsewhere(loop):
                made[number // 2].cancel()
    loop.look()
    assert len(timers) == sum(timer.pending for timer in made)
    for timer in made:
        timer.cancel()
    assert len(timers) == 0
    assert timers.timeout() is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_whose_timers_other_threads_make(backend: str) -> None:
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine:
        (loop,) = engine.group.reactors

        def make() -> None:
            timer = loop.face.schedule(1_000, print)
            loop.face.execute(timer.cancel)
            loop.face.schedule(1_000, print).cancel()

        threads = [Thread(target=lambda: [make() for _ in range(50)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        on_loop(loop, lambda: [loop.face.schedule(1_000, print).cancel() for _ in range(50)])
        for thread in threads:
            thread.join()
        until(lambda: on_loop(loop, lambda: len(loop.timers)) == 0)


class Full(Posted):
    """A loop that has too much to do to take one more call."""

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        raise ringnet.QueueFull("full")


@pytest.mark.parametrize("every", [0.0, 1.0])
def test_cancelled_elsewhere_while_the_loop_takes_no_calls(clock: Clock, every: float) -> None:
    loop = Full()
    timers, ran = Timers(loop), []
    timer = timers.add(1.0, lambda: ran.append("cancelled"), every)
    timers.add(2.0, lambda: ran.append("kept"))
    with elsewhere(loop):
        timer.cancel()
    assert not timer.pending
    clock.now += 5.0
    run_due(timers)
    assert ran == ["kept"]
    timer.cancel()
    assert len(timers) == 0
    assert timers.timeout() is None


def test_cancelled_elsewhere_it_does_not_run_before_the_loop_knows(clock: Clock) -> None:
    loop = Posted()
    timers, ran = Timers(loop), []
    timer = timers.add(1.0, lambda: ran.append("cancelled"))
    with elsewhere(loop):
        timer.cancel()
    clock.now += 1.0
    run_due(timers)
    loop.look()
    assert ran == []
    assert len(timers) == 0
