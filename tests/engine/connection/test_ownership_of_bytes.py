"""What the engine gave out never changes, and what it was given is sent as it was."""

from __future__ import annotations

import gc
import random
import socket
import threading

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served

FEW = {"receive_buffers": 2, "receive_buffer_size": 1024}  # so that each is used at once again


class Keeps(Recorder):
    """Keeps all it got in every way there is, with what it should be."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[object, bytes]] = []

    def on_traffic(self, conn: ringnet.Connection) -> None:
        while conn.inbound_buffered >= 4:
            size = int.from_bytes(conn.peek(4), "big")
            if conn.inbound_buffered < 4 + size:
                return
            conn.discard(4)
            expected = bytes([size % 251]) * size
            seen = conn.peek(size)
            view = memoryview(seen)
            target = bytearray(size // 2)
            assert conn.readinto(target) == size // 2
            rest = conn.next(size - size // 2)
            self.kept += [
                (seen, expected),
                (view[1:][1:], expected[2:]),
                (target, expected[: size // 2]),
                (memoryview(rest)[::2], expected[size // 2 :][::2]),
            ]
            conn.write(b"k")


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_read_stays_as_it_was(backend: str) -> None:
    """Past the handler, past the connection, and with all buffers in use by others."""
    handler = Keeps()
    chance = random.Random(7)
    sizes = [[chance.randrange(2, 3000) for _ in range(60)] for _ in range(8)]
    with served(backend, handler, **FEW) as engine:

        def send(mine: list[int]) -> None:
            with dial(engine) as client:
                for size in mine:
                    client.sendall(size.to_bytes(4, "big") + bytes([size % 251]) * size)
                assert receive(client, len(mine)) == b"k" * len(mine)

        threads = [threading.Thread(target=send, args=(mine,)) for mine in sizes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    gc.collect()
    assert len(handler.kept) == 8 * 60 * 4
    for got, expected in handler.kept:
        assert bytes(got) == expected  # type: ignore[call-overload]


@pytest.mark.parametrize("backend", BACKENDS)
def test_datagrams_that_were_read_stay_as_they_were(backend: str) -> None:
    class Keeps(ringnet.EventHandler):
        def __init__(self) -> None:
            self.kept: list[bytes] = []

        def on_traffic(self, conn: ringnet.Connection) -> None:
            self.kept.append(conn.next())
            conn.write(b"k")

    handler = Keeps()
    engine = ringnet.Engine(handler, "udp://127.0.0.1:0", backend=backend, datagram_buffers=1)
    with engine, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        host, _, port = engine.addresses[0].removeprefix("udp://").rpartition(":")
        peer.settimeout(WAIT)
        for number in range(200):
            peer.sendto(bytes([number]) * (number + 1), (host, int(port)))
            assert peer.recv(10) == b"k"
    assert handler.kept == [bytes([number]) * (number + 1) for number in range(200)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [10, 5_000, 40_000, 3_000_000])
def test_what_was_written_may_be_changed_and_forgotten(backend: str, size: int) -> None:
    """Also what is so large that the kernel reads it from where it is."""

    class Writes(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            for number in range(6):
                data = bytearray([number]) * size
                if number % 3 == 0:
                    conn.write(bytes(data))
                elif number % 3 == 1:
                    conn.write(memoryview(data))
                else:
                    conn.write(data)
                data[:] = b"\xff" * size
                del data
                gc.collect()
            garbage = [bytearray(b"\xee" * size) for _ in range(4)]
            del garbage

    with served(backend, Writes()) as engine, dial(engine) as client:
        client.sendall(b"x")
        expected = b"".join(bytes([number]) * size for number in range(6))
        assert receive(client, len(expected)) == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_large_write_outlives_its_connection(backend: str) -> None:
    """It is closed at once while the kernel may still read the bytes."""
    handler = Recorder()
    with served(backend, handler) as engine:
        for _ in range(20):
            with dial(engine) as client:
                conn = handler.expect("open")

                def cut(conn: ringnet.Connection = conn) -> None:
                    conn.write(random.randbytes(4_000_000))
                    conn.loop.execute(conn.close_now)

                on_loop(conn.loop, cut)
                while client.recv(1 << 20):
                    pass
            handler.expect("close")
        gc.collect()
        assert engine.buffered == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_can_be_read_after_the_end(backend: str) -> None:
    class Keeps(Recorder):
        def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
            for read in (conn.next, conn.peek, conn.discard, conn.read, conn.pause_reading):
                with pytest.raises(ringnet.ConnectionClosed):
                    read()
            with pytest.raises(ringnet.ConnectionClosed):
                conn.readinto(bytearray(1))
            super().on_close(conn, error)

        def on_traffic(self, conn: ringnet.Connection) -> None:
            return

    handler = Keeps()
    with served(backend, handler) as engine:
        with dial(engine) as client:
            client.sendall(b"never read")
        handler.expect("open")
        assert handler.expect("close") is None
