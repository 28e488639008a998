"""A dial to a Unix listener whose backlog is full is tried again, with one timer."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, on_loop, until


@pytest.mark.parametrize("backend", BACKENDS)
def test_waiting_for_room_keeps_nothing(backend: str, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine:
            (loop,) = engine.group.reactors
            done = engine.register(f"unix://{path}", timeout=WAIT)
            until(lambda: loop.dials.pending)
            (dial,) = loop.dials.pending
            counts: list[int] = []
            looking = loop.face.repeat(0.01, lambda: counts.append(len(dial._timers)))
            until(lambda: len(counts) >= 30)
            looking.cancel()
            assert max(counts) <= 3
            assert on_loop(loop, lambda: len(loop.timers.heap)) < 10
            listener.accept()[0].close()
            assert done.result(WAIT) is not None
            listener.accept()[0].close()
