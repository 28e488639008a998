"""Asking an engine to stop again and again costs it nothing, and the shortest time counts."""

from __future__ import annotations

from time import monotonic

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, receive, served, until


class Insists(Recorder):
    """Stops the engine at each message, and goes on with the connection."""

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action:
        conn.write(conn.next())
        return ringnet.Action.SHUTDOWN

    def on_drain(self, conn: ringnet.Connection) -> None:
        return None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_handler_that_returns_shutdown_each_time(backend: str) -> None:
    engine = served(backend, Insists(), reactors=2, stop_timeout=WAIT).start()
    with dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        until(lambda: engine.is_stopping)
        loops = engine.group.reactors
        before = [len(loop.timers) for loop in loops]
        for _ in range(200):
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        assert all(len(loop.timers) <= 2 + old for loop, old in zip(loops, before, strict=True))
    assert engine.wait(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("later", [WAIT, 3 * WAIT])
def test_the_shortest_time_counts(backend: str, later: float) -> None:
    handler = Insists()
    engine = served(backend, handler, reactors=2, stop_timeout=WAIT).start()
    with dial(engine) as client:
        handler.expect("open")
        began = monotonic()
        engine.request_stop(2 * WAIT)
        engine.request_stop(0.2)
        engine.request_stop(later)
        assert client.recv(1) == b""
        assert engine.wait(WAIT)
    assert 0.2 <= monotonic() - began < WAIT
