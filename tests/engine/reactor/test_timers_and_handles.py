"""Timers and handles by themselves."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

from ringnet.completion import INDEX_BITS
from ringnet.engine.base.timers import Timers
from ringnet.engine.reactor.free_handles import Handles


class HereAndNow:
    """A loop on the thread of the test."""

    def __init__(self) -> None:
        self.ident = get_ident()

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)


def test_timers_run_in_order_and_not_when_cancelled() -> None:
    timers = Timers(HereAndNow())
    ran: list[int] = []
    made = [timers.add(0, lambda n=n: ran.append(n)) for n in range(200)]
    for timer in made[::2]:
        timer.cancel()
        timer.cancel()
    late = timers.add(1_000, lambda: ran.append(-1))
    assert timers.timeout() == 0
    for call in timers.due():
        call()
    assert ran == list(range(1, 200, 2))
    assert len(timers) == 1
    assert 990 < (timers.timeout() or 0) <= 1_000
    late.cancel()
    assert timers.timeout() is None


def test_handles_come_back_in_another_generation() -> None:
    handles = Handles(2)
    first, second = handles.take(), handles.take()
    assert first is not None
    assert second is not None
    assert handles.take() is None
    handles.give_back(first)
    again = handles.take()
    assert again is not None
    assert again != first
    assert (again ^ first) >> INDEX_BITS
    assert not (again ^ first) & (1 << INDEX_BITS) - 1
