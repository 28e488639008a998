"""Elastic buffers, against a model of plain bytes; timers and handles."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

from hypothesis import given
from hypothesis import strategies as st
from ringnet.completion import INDEX_BITS
from ringnet.engine.buffer import ChunkQueue, ElasticBuffer
from ringnet.engine.handles import Handles
from ringnet.engine.timers import Timers

STEPS = st.lists(st.one_of(st.binary(max_size=200), st.integers(0, 300)), max_size=50)


@given(STEPS)
def test_the_elastic_buffer_is_like_bytes(steps: list[bytes | int]) -> None:
    buffer, model = ElasticBuffer(b"start"), b"start"
    for step in steps:
        if isinstance(step, bytes):
            buffer.append(step)
            model += step
        else:
            assert buffer.peek(step) == model[:step]
            assert buffer.take(step) == model[:step]
            model = model[step:]
        assert len(buffer) == len(model)


@given(st.lists(st.binary(max_size=100)), st.integers(1, 250))
def test_the_queue_keeps_order_and_counts(chunks: list[bytes], goal: int) -> None:
    queue = ChunkQueue()
    for chunk in chunks:
        queue.append(chunk)
    whole = b"".join(chunks)
    got = b""
    while queue.size:
        piece = queue.take(goal)
        assert piece
        assert len(piece) <= max(goal, *(len(chunk) for chunk in chunks))
        got += piece
        assert queue.size == len(whole) - len(got)
    assert got == whole


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
