"""A worker pool that finds no memory for a worker has as much room as before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import WAIT
from ringnet.engine.pool import workers


@pytest.mark.parametrize("step", ["worker", "thread", "start"])
@pytest.mark.parametrize("call", ["submit", "spawn", "preallocate"])
def test_no_room_is_lost(step: str, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise MemoryError

    pool = ringnet.WorkerPool(2, nonblocking=True)
    calls: dict[str, Callable[[], object]] = {
        "submit": lambda: pool.submit(int),
        "spawn": lambda: pool.spawn(int),
        "preallocate": pool.preallocate,
    }
    with monkeypatch.context() as patch:
        if step == "worker":
            patch.setattr(workers, "_Worker", refuse)
        elif step == "thread":
            patch.setattr(workers.threading, "Thread", refuse)
        else:
            patch.setattr(threading.Thread, "start", refuse)
        for _ in range(5):
            with pytest.raises(MemoryError):
                calls[call]()
            assert (pool.free, pool.running, pool.workers) == (2, 0, 0)
    assert pool.submit(len, "abc").result(WAIT) == 3
    assert pool.release(WAIT)
