"""The peer ends its side, `on_end` lets the connection live, and then the peer resets it."""

from __future__ import annotations

import socket

import pytest
import ringnet
from contract_tools import reset
from engine_tools import BACKENDS, Recorder, dial, on_loop, receive, served


class Stays(Recorder):
    """Keeps half-closed connections open, to answer later."""

    def on_end(self, conn: ringnet.Connection) -> None:
        self.seen.put(("end", conn))


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_noticed_while_nothing_is_written(backend: str) -> None:
    handler = Stays()
    with served(backend, handler) as engine:
        client = dial(engine)
        handler.expect("open")
        client.shutdown(socket.SHUT_WR)
        handler.expect("end")
        reset(client)
        assert isinstance(handler.expect("close"), ConnectionResetError)
        assert engine.count_connections() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_is_noticed_after_a_pause(backend: str) -> None:
    handler = Stays()
    with served(backend, handler) as engine:
        client = dial(engine)
        conn = handler.expect("open")
        client.shutdown(socket.SHUT_WR)
        handler.expect("end")
        on_loop(conn.loop, conn.pause_reading)
        reset(client)
        on_loop(conn.loop, conn.resume_reading)
        assert isinstance(handler.expect("close"), ConnectionResetError)


@pytest.mark.parametrize("backend", BACKENDS)
def test_who_only_ends_its_side_is_answered_much_later(backend: str) -> None:
    handler = Stays()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        client.shutdown(socket.SHUT_WR)
        handler.expect("end")
        on_loop(conn.loop, lambda: conn.loop.schedule(0.6, lambda: conn.write(b"late")))
        assert receive(client, 4) == b"late"
        conn.close()
        assert handler.expect("close") is None
