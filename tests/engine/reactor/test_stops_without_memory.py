"""Stopping, time limits and timers go on where a step of them finds no memory."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import faults
import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served
from ringnet.completion import NOW
from ringnet.engine.base.timers import Timers
from ringnet.engine.connection import deadlines
from ringnet.engine.reactor import stopping

CPYTHON = pytest.mark.skipif(sys.implementation.name != "cpython", reason="the hooks are CPython's")


def refused_once(call: Callable[..., Any], matters: Callable[..., object] = bool) -> Any:
    """The call, which finds no memory the first time that `matters` holds of its arguments."""
    left = [MemoryError]

    def refuse(*arguments: Any) -> Any:
        if left and matters(*arguments):
            raise left.pop()
        return call(*arguments)

    return refuse


class Drains(Recorder):
    """Closes its connections when the engine drains, or leaves them."""

    def __init__(self, closes: bool) -> None:
        super().__init__()
        self.closes = closes

    def on_drain(self, conn: ringnet.Connection) -> ringnet.Action | None:
        self.seen.put(("drain", conn))
        return ringnet.Action.CLOSE if self.closes else None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("name", ["list", "Countdown"])
def test_a_stop(backend: str, name: str, closes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every connection is drained, the sockets of datagrams are closed, and the limit holds."""
    handler = Drains(closes)
    addresses = "tcp://127.0.0.1:0", "udp://127.0.0.1:0"
    engine = ringnet.Engine(handler, *addresses, backend=backend).start()
    with dial(engine):
        handler.expect("open")
        real = list if name == "list" else stopping.Countdown
        refuse = refused_once(real, lambda *_: True)
        monkeypatch.setattr(stopping, name, refuse, raising=False)
        assert engine.stop(WAIT if closes else 0.2)
        handler.expect("drain")
        handler.expect("close")
    assert not engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_end_of_a_while(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that does not end its side is not waited for any longer."""
    handler = Recorder()
    with served(backend, handler, linger_timeout=0.1) as engine, dial(engine) as client:
        conn = handler.expect("open")
        (loop,) = engine.group.reactors
        refuse = refused_once(loop.backend.close, lambda handle, mode: mode == NOW)
        monkeypatch.setattr(loop.backend, "close", refuse)
        conn.close()
        assert client.recv(1) == b""
        handler.expect("close")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_from_elsewhere(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those behind it do not wake the loop: were it not woken for the first, it never would be."""
    with served(backend, Recorder()) as engine, dial(engine) as client:
        (loop,) = engine.group.reactors
        on_loop(loop, bool)
        monkeypatch.setattr(loop.backend, "wake", refused_once(loop.backend.wake, lambda: True))
        assert on_loop(loop, lambda: "made") == "made"
        client.sendall(b"x")
        assert receive(client, 1) == b"x"


def test_a_countdown_counts_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part for which there is no memory is begun again: it ends no earlier."""
    now = 100.0
    monkeypatch.setattr(deadlines, "monotonic", lambda: now)
    calls: list[float] = []

    class Loop:
        refused = -1

        def add_timer(self, delay: float, call: Callable[[], object]) -> Any:
            self.refused += 1
            if self.refused == 1:
                raise MemoryError
            return type("Timer", (), {"when": now + delay, "cancel": lambda self: None})()

    countdown = deadlines.Countdown(Loop(), 10.0, lambda: calls.append(now))  # type: ignore[arg-type]
    now += 5.0
    with pytest.raises(MemoryError):
        countdown._count()
    now += 0.1
    countdown._count()
    assert not calls
    now += 5.0
    countdown._count()
    assert calls == [now]


class Idle:
    """A loop for timers alone."""

    def __init__(self) -> None:
        self.ident = threading.get_ident()

    def post(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)


@CPYTHON
@pytest.mark.parametrize("step", ["add", "cancel", "due"])
def test_timers(step: str) -> None:
    """Whichever allocation fails: the heap is one, and knows how many in it are cancelled."""
    for nth in range(25):
        timers = Timers(Idle())
        timers._count = 1_000  # integers of that size are allocated
        kept = [timers.add(i - 100.0, print) for i in range(100)]
        timers.add(-200.0, print, every=150.0)
        calls = {
            "add": partial(timers.add, -150.0, print),
            "cancel": kept[69].cancel,
            "due": partial(next, timers.due()),
        }
        for timer in kept[:69] if step == "cancel" else ():
            timer.cancel()
        with suppress(MemoryError), faults.refuse_memory(nth):
            calls[step]()
        heap = timers.heap
        assert timers._cancelled == sum(timer._call is None for timer in heap)
        assert not any(heap[i] < heap[(i - 1) // 2] for i in range(1, len(heap)))
