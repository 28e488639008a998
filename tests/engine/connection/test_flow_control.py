"""Flow control: water marks, pausing, and bounds of a connection and of the engine."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    FREE_THREADED,
    WAIT,
    Recorder,
    dial,
    on_loop,
    receive,
    served,
    until,
)

MIB = 1024 * 1024


class Pushes(Recorder):
    """Writes what `on_traffic` is asked for; notes what it is told."""

    def __init__(self, size: int = 0) -> None:
        super().__init__()
        self.size = size

    def on_traffic(self, conn: ringnet.Connection) -> None:
        conn.next()
        conn.write(bytes(self.size))
        self.seen.put(("written", conn.is_writable))

    def on_writable(self, conn: ringnet.Connection) -> None:
        self.seen.put(("writable", (conn.is_writable, conn.outbound_buffered)))


@pytest.mark.parametrize("backend", BACKENDS)
def test_water_marks_are_told_once_each_way(backend: str) -> None:
    handler = Pushes(20 * MIB)
    options = {"high_water": MIB, "low_water": 100_000}
    with served(backend, handler, **options) as engine, dial(engine) as client:
        for _ in range(2):
            client.sendall(b"x")
            assert receive(client, 20 * MIB) == bytes(20 * MIB)
        conn = handler.expect("open")
        for _ in range(2):
            assert handler.expect("written") is False
            is_writable, waiting = handler.expect("writable")
            assert is_writable
            assert waiting <= 100_000
        until(lambda: engine.buffered == 0)
        assert conn.is_writable
    handler.expect("close")


@pytest.mark.parametrize("backend", BACKENDS)
def test_small_writes_reach_the_high_water_mark_too(backend: str) -> None:
    class Trickles(Pushes):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            for _ in range(6_000):
                conn.write(bytes(1000))
            self.seen.put(("written", conn.is_writable))

    handler = Trickles()
    with served(backend, handler, socket_send_buffer=8192) as engine, dial(engine) as client:
        handler.expect("open")
        client.sendall(b"x")
        assert handler.expect("written") is False
        assert receive(client, 6_000_000) == bytes(6_000_000)
        assert handler.expect("writable")[0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_paused_reading_keeps_what_is_there_and_slows_the_peer(backend: str) -> None:
    class Pauses(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            self.seen.put(("got", conn.inbound_buffered))
            if conn.context is None:
                conn.context = b""
                assert conn.next(1) == b"a"
                conn.pause_reading()
                conn.pause_reading()
                assert not conn.is_reading
            else:
                conn.context += conn.next()

    handler = Pauses()
    data = b"a" + bytes(range(256)) * 80_000  # more than the sockets hold
    with (
        served(backend, handler, socket_receive_buffer=65536) as engine,
        dial(engine) as client,
    ):
        conn = handler.expect("open")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sent = threading.Thread(target=client.sendall, args=(data,))
        sent.start()
        handler.expect("got")
        sent.join(0.3)
        assert sent.is_alive(), "nobody reads, so the peer has to wait"
        there = on_loop(conn.loop, lambda: conn.inbound_buffered)
        assert there < 4 * MIB
        assert handler.seen.empty(), "a paused connection has no on_traffic"
        on_loop(conn.loop, conn.resume_reading)
        sent.join(WAIT)
        until(lambda: len(conn.context) == len(data) - 1)
        assert conn.context == data[1:]
        assert conn.is_reading


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_peers_end_is_told_after_resuming(backend: str) -> None:
    class Pauses(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            super().on_open(conn)
            conn.pause_reading()

        def on_traffic(self, conn: ringnet.Connection) -> None:
            self.seen.put(("got", conn.next()))

        def on_end(self, conn: ringnet.Connection) -> ringnet.Action:
            self.seen.put(("end", None))
            return ringnet.Action.CLOSE

    handler = Pauses()
    with served(backend, handler) as engine:
        with dial(engine) as client:
            client.sendall(b"last words")
        conn = handler.expect("open")
        assert engine.count_connections() == 1
        on_loop(conn.loop, conn.resume_reading)
        words = handler.expect("got")
        while words != b"last words":
            words += handler.expect("got")
        handler.expect("end")
        assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_pausing_and_resuming_again_and_again_loses_nothing(backend: str) -> None:
    class Flickers(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.write(conn.next(max(1, conn.inbound_buffered // 2)))
            conn.pause_reading()
            conn.loop.schedule(0.0005, lambda: resume(conn))

    def resume(conn: ringnet.Connection) -> None:
        if conn.fileno() != -1:
            conn.resume_reading()

    data = bytes(range(256)) * 4000
    with served(backend, Flickers()) as engine, dial(engine) as client:
        sends = threading.Thread(target=client.sendall, args=(data,))
        sends.start()
        assert receive(client, len(data)) == data
        sends.join(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("outcome", ["raise", "close"])
def test_a_peer_that_never_reads(backend: str, outcome: str) -> None:
    """What waits for it stays below the bound, and the outcome is the one that was asked for."""

    class Feeds(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            conn.loop.execute(lambda: self.feed(conn))

        def feed(self, conn: ringnet.Connection) -> None:
            try:
                while True:
                    conn.write(bytes(100_000))
                    assert conn.outbound_buffered < 24 * MIB + 100_001
            except (ringnet.BufferLimitExceeded, ringnet.ConnectionClosed) as error:
                self.seen.put(("refused", type(error)))

    handler = Feeds()
    options = {"max_outbound": 24 * MIB, "outbound_full": outcome, "close_timeout": 0.1}
    with served(backend, handler, **options) as engine, dial(engine) as client:
        conn = handler.expect("open")
        client.sendall(b"x")
        refused = handler.expect("refused")
        if outcome == "close":
            assert refused is ringnet.ConnectionClosed
            assert isinstance(handler.expect("close"), ringnet.BufferLimitExceeded)
        else:
            assert refused is ringnet.BufferLimitExceeded
            assert engine.count_connections() == 1
            on_loop(conn.loop, conn.close)
            assert isinstance(handler.expect("close"), TimeoutError)
        assert engine.buffered == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_handler_that_does_not_read(backend: str) -> None:
    """`inbound_full="pause"` slows the peer down where "close" ends it."""

    class Hoards(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            assert conn.inbound_buffered < 1.5 * MIB

    handler = Hoards()
    data = bytes(range(256)) * 80_000
    # What is in the receive buffers already comes on top: of this turn and of the one that pauses.
    options: dict[str, Any] = {"max_inbound": MIB, "inbound_full": "pause"}
    options |= {"receive_buffers": 16, "receive_buffer_size": 16384}
    with (
        served(backend, handler, socket_receive_buffer=65536, **options) as engine,
        dial(engine) as client,
    ):
        conn = handler.expect("open")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        sends = threading.Thread(target=client.sendall, args=(data,))
        sends.start()
        until(lambda: not conn.is_reading)
        assert MIB < engine.buffered < 1.5 * MIB
        got: list[bytes] = []

        def take() -> int:
            got.append(on_loop(conn.loop, conn.next))
            return sum(map(len, got))

        until(lambda: take() == len(data))
        sends.join(WAIT)
        assert b"".join(got) == data
        until(lambda: conn.is_reading and engine.buffered == 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_bound_of_the_whole_engine(backend: str) -> None:
    """Many that each keep less than their own bound reach it together."""

    class Hoards(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            pass

    handler = Hoards()
    options = {"max_buffered": 2 * MIB, "reactors": 2}
    with served(backend, handler, **options) as engine:
        clients = [dial(engine) for _ in range(8)]
        for client in clients:
            client.sendall(bytes(400_000))
        errors = 0
        while errors < 3:
            name, detail = handler.seen.get(timeout=WAIT)
            if name == "close":
                assert isinstance(detail, ringnet.BufferLimitExceeded)
                assert "max_buffered" in str(detail)
                errors += 1
        until(lambda: engine.buffered <= 2 * MIB)
        assert engine.count_connections() <= 5
        for client in clients:
            client.close()
        until(lambda: engine.count_connections() == 0)
        assert engine.buffered == 0


def test_marks_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ringnet.OptionError, match="low_water"):
        ringnet.Engine(Recorder(), "tcp://:0", high_water=10, low_water=11)
    ringnet.Engine(Recorder(), "tcp://:0", high_water=10)


@pytest.mark.parametrize("backend", [name for name in BACKENDS if name != "kqueue"])
def test_a_gigabyte_through_a_proxy_to_a_slow_reader(backend: str, tmp_path: Path) -> None:
    """In a process of its own, whose memory stays below 64 MiB.

    A free-threaded interpreter is larger, and its mimalloc keeps more of what was freed.
    """
    from proxy_tools import peak_of_a_gigabyte

    assert peak_of_a_gigabyte(backend) < (128 if FREE_THREADED else 64) * MIB
