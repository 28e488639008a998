"""Tasks for worker pools that run until a test lets them go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import ringnet
from engine_tools import WAIT, until


class Gate:
    """Tasks that run until they are let go."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.inside = 0
        self.lock = threading.Lock()

    def task(self) -> int:
        with self.lock:
            self.inside += 1
        assert self.open.wait(WAIT)
        return 1


@contextmanager
def gated() -> Iterator[Gate]:
    """Nobody stays behind it."""
    before = threading.active_count()
    made = Gate()
    yield made
    made.open.set()
    until(lambda: threading.active_count() == before)


def fill(pool: ringnet.WorkerPool | ringnet.MultiPool, gate: Gate, count: int) -> None:
    for _ in range(count):
        pool.spawn(gate.task)
    until(lambda: gate.inside >= count)
