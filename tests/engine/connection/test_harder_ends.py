"""A harder end overtakes a softer one, and an end can be asked for again, wherever it is needed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served, until

HARD = ["close_now", "reset"]
FOREVER = {"close_timeout": 600.0, "linger_timeout": 600.0}  # seconds: what ends earlier was cut


def owe(conn: ringnet.Connection) -> None:
    conn.write(bytes(30_000_000))


def end_of(client: socket.socket) -> str:
    """How the stream ends for a peer that reads it."""
    try:
        while client.recv(1 << 20):
            pass
    except ConnectionResetError:
        return "reset"
    return "end"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", HARD)
@pytest.mark.parametrize("owed", [True, False])
@pytest.mark.parametrize("same_turn", [True, False])
def test_after_a_soft_one(backend: str, how: str, owed: bool, same_turn: bool) -> None:
    """While bytes are owed, and while it lingers."""
    handler = Recorder()
    with served(backend, handler, **FOREVER) as engine, dial(engine) as client:
        conn = handler.expect("open")
        if owed:
            on_loop(conn.loop, lambda: owe(conn))

        def both() -> None:
            conn.close()
            getattr(conn, how)()

        if same_turn:
            on_loop(conn.loop, both)
        else:
            on_loop(conn.loop, conn.close)
            if not owed:
                assert client.recv(1) == b"", "it lingers"
            on_loop(conn.loop, getattr(conn, how))
        assert handler.expect("close") is None
        assert engine.buffered == 0
        if how == "reset" and owed:  # else the peer has seen the softer end before
            assert end_of(client) == "reset"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", HARD)
def test_the_error_of_the_softer_one_stays(backend: str, how: str) -> None:
    class Fails(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            owe(conn)
            raise RuntimeError("of the handler")

    handler = Fails()
    with served(backend, handler, **FOREVER) as engine, dial(engine) as client:
        client.sendall(b"x")
        conn = handler.expect("open")
        receive(client, 1)
        on_loop(conn.loop, getattr(conn, how))
        assert repr(handler.expect("close")) == "RuntimeError('of the handler')"


class Insists(Recorder):
    """Ends its connection again and again, also in `on_close` and in a callback of `close`."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.trouble: list[BaseException] = []

    def insist(self, conn: ringnet.Connection) -> None:
        try:
            for how in (self.how, "close", *HARD, self.how):
                getattr(conn, how)()
        except BaseException as error:
            self.trouble.append(error)

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
        self.insist(conn)
        super().on_close(conn, error)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", HARD)
def test_again_and_again(backend: str, how: str) -> None:
    handler = Insists(how)
    with served(backend, handler, **FOREVER) as engine:
        with dial(engine):
            conn = handler.expect("open")
            conn.close(lambda conn, error: handler.insist(conn))
            on_loop(conn.loop, lambda: handler.insist(conn))
            assert handler.expect("close") is None
            on_loop(conn.loop, lambda: handler.insist(conn))
            handler.insist(conn)  # elsewhere, where it is closed already
    handler.insist(conn)  # when the engine has ended
    called: list[Exception | None] = []
    conn.close(lambda conn, error: called.append(error))
    assert called == [None]
    assert handler.trouble == []
    assert handler.expect("shutdown") == 0
    assert handler.seen.empty()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", HARD)
def test_on_another_thread_before_it_is_closed(backend: str, how: str) -> None:
    handler = Recorder()
    with served(backend, handler, linger_timeout=600.0) as engine, dial(engine) as client:
        conn = handler.expect("open")
        with pytest.raises(ringnet.WrongThread):
            getattr(conn, how)()
        conn.close()
        assert client.recv(1) == b""
        with pytest.raises(ringnet.WrongThread):
            getattr(conn, how)()
        on_loop(conn.loop, getattr(conn, how))
        handler.expect("close")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", HARD)
def test_when_the_engine_drains(backend: str, how: str) -> None:
    """A connection that lingers does not hold up the end of an engine whose handler cuts it."""

    class Cuts(Recorder):
        def on_drain(self, conn: ringnet.Connection) -> None:
            conn.write(b"bye")
            conn.close()
            conn.loop.schedule(0.01, getattr(conn, how))

    handler = Cuts()
    with served(backend, handler, stop_timeout=600.0, **FOREVER) as engine, dial(engine):
        handler.expect("open")
        stopped = threading.Thread(target=engine.stop)
        stopped.start()
        assert handler.expect("close") is None
        stopped.join(WAIT)
        assert not stopped.is_alive()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", HARD)
def test_a_connection_of_packets(backend: str, how: str, tmp_path: Any) -> None:
    handler = Insists(how)
    address = f"unixpacket://{tmp_path}/s"
    server = Recorder()
    with (
        ringnet.Engine(server, address, backend=backend) as engine,
        ringnet.Client(handler, backend=backend, **FOREVER) as client,
    ):
        conn = client.dial(engine.addresses[0])
        handler.expect("open")
        server.expect("open")
        insist: Callable[[], None] = lambda: handler.insist(conn)  # noqa: E731
        on_loop(conn.loop, insist)
        assert handler.expect("close") is None
        on_loop(conn.loop, insist)
        until(lambda: engine.count_connections() == 0)
    handler.insist(conn)
    assert handler.trouble == []
