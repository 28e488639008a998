"""Timers of a loop that are added and cancelled by who interrupts it, at any line."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from threading import get_ident

import interruption_tools
import pytest
from interruption_tools import at_each_line, bounded
from ringnet.engine.base import timers as module
from ringnet.engine.base.timers import Timer, Timers

Interruption = partial(interruption_tools.Interruption, {module.__file__})


class Loop:
    """Of this thread; what is posted is done when it is asked to."""

    def __init__(self, ident: int) -> None:
        self.ident = ident
        self.posted: list[tuple[Callable[..., object], tuple[object, ...]]] = []

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        self.posted.append((call, arguments))

    def look(self) -> None:
        while self.posted:
            call, arguments = self.posted.pop(0)
            call(*arguments)


def due(timers: Timers) -> None:
    for call in timers.due():
        call()


OUTER: dict[str, Callable[[Timers, list[Timer]], object]] = {
    "add": lambda timers, made: timers.add(0.5, int),
    "cancel": lambda timers, made: [timer.cancel() for timer in made[10:100]],
    "timeout": lambda timers, made: timers.timeout(),
    "due": lambda timers, made: due(timers),
}
INNER: dict[str, Callable[[Timers, list[Timer], list[int]], object]] = {
    "add": lambda timers, made, ran: timers.add(-1.0, lambda: ran.append(-1)),
    "cancel one": lambda timers, made, ran: made[-1].cancel(),
    "cancel many": lambda timers, made, ran: [timer.cancel() for timer in made[30:]],
    "repeat": lambda timers, made, ran: timers.add(0.0, lambda: ran.append(-1), 100.0),
}


@pytest.mark.parametrize("outer", OUTER)
@pytest.mark.parametrize("inner", INNER)
def test_no_timer_is_lost_and_none_runs_that_was_cancelled(outer: str, inner: str) -> None:
    def trial(line: int) -> bool:
        loop = Loop(get_ident())
        timers = Timers(loop)
        ran: list[int] = []
        made = [timers.add(-1.0 - n / 1000, partial(ran.append, n)) for n in range(120)]
        for timer in made[:5]:
            timer.cancel()
        made.append(timers.add(0.0, partial(ran.append, 120), 100.0))
        interruption = Interruption(line, lambda: INNER[inner](timers, made, ran))
        interruption.during(lambda: OUTER[outer](timers, made))
        loop.look()  # where it was told of what it could not do at once
        was_pending = [timer.pending for timer in made]
        due(timers)
        loop.look()
        due(timers)
        for number, timer in enumerate(made[:120]):
            assert not timer.pending
            if was_pending[number]:
                assert ran.count(number) == 1
            assert ran.count(number) <= 1
        if interruption.left <= 0 and inner in ("add", "repeat"):
            assert ran.count(-1) == 1
        heap = timers.heap
        assert not any(heap[place] < heap[(place - 1) // 2] for place in range(1, len(heap)))
        assert len(timers) == sum(timer.pending for timer in heap)
        assert timers.timeout() is None or timers.timeout() >= 0  # type: ignore[operator]
        return interruption.left <= 0

    bounded(lambda: at_each_line(trial, 6000, 7))
