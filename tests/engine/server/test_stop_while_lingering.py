"""A connection that lingers when the engine is stopped has no more time than those that follow."""

from __future__ import annotations

import time

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, served


class Closes(Recorder):
    """Closes each connection once something has come of it."""

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action:
        conn.write(conn.next())
        return ringnet.Action.CLOSE


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_lingers_does_not_hold_up_the_stop(backend: str) -> None:
    handler = Closes()
    with (
        served(backend, handler, linger_timeout=WAIT, stop_timeout=WAIT) as engine,
        dial(engine) as peer,
    ):
        peer.sendall(b"bye")
        received = b"".join(iter(lambda: peer.recv(100), b""))
        assert received == b"bye"  # and its end: it lingers, for the peer does not end its side
        conn = handler.expect("open")
        on_loop(conn.loop, lambda: None)
        begun = time.monotonic()
        assert engine.stop()
        assert time.monotonic() - begun < WAIT / 2
        assert handler.expect("close") is None
