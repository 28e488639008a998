"""A paused connection: when it is woken, when it is closed, and when it holds too much as well."""

from __future__ import annotations

import socket
import threading
from time import sleep
from typing import Any

import pytest
import ringnet
from contract_tools import pattern
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served, until

MIB = 1 << 20


class Notes(Recorder):
    """Pauses at the start, and notes what it gets."""

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.pause_reading()
        super().on_open(conn)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        self.seen.put(("traffic", conn.next()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["tcp", "unixpacket"])
def test_waking_waits_for_reading(backend: str, kind: str, tmp_path: Any) -> None:
    """Each callback is called, and `on_traffic` once, after resuming."""
    handler = Notes()
    address = "tcp://127.0.0.1:0" if kind == "tcp" else f"unixpacket://{tmp_path}/s"
    with (
        ringnet.Engine(handler, address, backend=backend) as engine,
        ringnet.Client(Recorder(), backend=backend) as dials,
    ):
        peer = dials.dial(engine.addresses[0])
        conn = handler.expect("open")
        for number in range(3):
            conn.wake(
                lambda conn, error, number=number: handler.seen.put((f"woken{number}", error))
            )
            assert handler.expect(f"woken{number}") is None
        sleep(0.05)
        assert handler.seen.empty(), "there is no on_traffic while reading is paused"
        on_loop(conn.loop, conn.resume_reading)
        assert handler.expect("traffic") == b""
        conn.wake()
        assert handler.expect("traffic") == b""
        peer.async_write(b"x")
        assert handler.expect("traffic") == b"x"
        on_loop(conn.loop, conn.pause_reading)
        conn.wake()
        on_loop(conn.loop, conn.close_now)
        assert handler.expect("close") is None
        conn.wake(lambda conn, error: handler.seen.put(("woken", error)))
        assert isinstance(handler.expect("woken"), ringnet.ConnectionClosed)


@pytest.mark.parametrize("backend", BACKENDS)
def test_waking_with_bytes_that_were_kept(backend: str) -> None:
    handler = Notes()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        client.sendall(b"x")
        conn.wake()
        on_loop(conn.loop, conn.resume_reading)
        got = b""
        while not got:
            got = handler.expect("traffic")
        assert got == b"x"
        client.sendall(b"y")
        assert handler.expect("traffic") == b"y"


class Owes(Recorder):
    """Says much and closes while it does not read."""

    def __init__(self, data: bytes, how: str) -> None:
        super().__init__()
        self.data = data
        self.how = how

    def on_traffic(self, conn: ringnet.Connection) -> None:
        if self.how == "paused":
            conn.next()
            conn.pause_reading()
        assert conn.is_reading is (self.how == "reading")
        for start in range(0, len(self.data), MIB):
            conn.write(self.data[start : start + MIB])
        conn.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["reading", "paused", "held"])
def test_what_is_closed_reads_on(backend: str, how: str) -> None:
    """The peer sends all it has before it reads."""
    data = pattern(16 * MIB)
    handler = Owes(data, how)
    options: dict[str, Any] = {"close_timeout": WAIT}
    if how == "held":

        def once_held(conn: ringnet.Connection) -> None:
            if not conn.is_reading:
                Owes.on_traffic(handler, conn)
            else:  # it is held after this call
                conn.loop.schedule(0.01, conn.wake)

        handler.on_traffic = once_held  # type: ignore[method-assign]
        options |= {"max_inbound": 1000, "inbound_full": "pause"}
    with served(backend, handler, **options) as engine, dial(engine) as client:
        client.sendall(bytes(16 * MIB))
        client.shutdown(socket.SHUT_WR)
        assert receive(client, len(data) + 1) == data
        handler.expect("open")
        assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_pausing_with_too_much_unread_stops_reading(backend: str) -> None:
    """Both bounds at once: what is left unread is above `max_inbound` when reading is paused."""

    class Pauses(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            if conn.context is None and conn.inbound_buffered > 1000:
                conn.pause_reading()
            elif conn.context is not None:
                conn.context += conn.next()

    handler = Pauses()
    options: dict[str, Any] = {"max_inbound": 1000, "inbound_full": "pause"}
    data = pattern(16 * MIB)
    with served(backend, handler, **options) as engine, dial(engine) as client:
        sends = threading.Thread(target=client.sendall, args=(data,))
        sends.start()
        conn = handler.expect("open")
        until(lambda: not on_loop(conn.loop, lambda: conn.is_reading))
        sends.join(0.3)
        assert sends.is_alive(), "nobody reads, so the peer has to wait"
        assert on_loop(conn.loop, lambda: conn.inbound_buffered) < 4 * MIB
        conn.context = bytearray()
        on_loop(conn.loop, conn.resume_reading)
        until(lambda: len(conn.context) == len(data))
        assert conn.context == data
        sends.join(WAIT)
