"""G5, G6, G7, G17: reading, writing and controlling a connection."""

from __future__ import annotations

import io
import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, open_descriptors, receive, until


def served(backend: str, handler: ringnet.EventHandler, **options: Any) -> ringnet.Engine:
    return ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, **options)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_way_of_reading(backend: str) -> None:
    found: Queue[list[Any]] = Queue()

    class Reads(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            if conn.inbound_buffered < 40:
                return
            room = bytearray(3)
            file = io.BytesIO()
            seen = [
                conn.next(2),
                conn.peek(3),
                conn.discard(1),
                conn.read(2),
                (conn.readinto(room), bytes(room)),
                conn.readinto(memoryview(bytearray(0))),
                conn.next(0),
                conn.inbound_buffered,
            ]
            for call in (conn.next, conn.peek, conn.discard):
                with pytest.raises(ringnet.ShortBuffer):
                    call(33)
                with pytest.raises(ValueError, match="0 or more"):
                    call(-2)
            seen += [conn.inbound_buffered, conn.write_to(file), file.getvalue(), conn.read(5)]
            seen += [conn.next(), conn.inbound_buffered]
            found.put(seen)

    data = bytes(range(40))
    with served(backend, Reads()) as engine, dial(engine) as client:
        for chunks in ([40], [1] * 40, [13, 27]):  # in one piece, and gathered from leftovers
            rest = data
            for size in chunks:
                client.sendall(rest[:size])
                rest = rest[size:]
            assert found.get(timeout=WAIT) == [
                data[:2],
                data[2:5],
                1,
                data[3:5],
                (3, data[5:8]),
                0,
                b"",
                32,
                32,
                32,
                data[8:],
                b"",
                b"",
                0,
            ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_way_of_writing(backend: str) -> None:
    class Writes(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            conn.write(b"a")
            conn.write(bytearray(b"b"))
            conn.write(memoryview(b"-c-")[1:2])
            conn.write(b"")
            conn.writev([b"d", bytearray(b"e"), memoryview(b"f")])
            conn.writev([])
            assert conn.read_from(io.BytesIO(b"g" * 600_000)) == 600_000
            conn.flush()
            assert conn.outbound_buffered >= 600_000
            for wrong in ("text", 1, None, [b"x"]):
                with pytest.raises(TypeError, match="only bytes"):
                    conn.write(wrong)  # type: ignore[arg-type]
            with pytest.raises(ringnet.UsageError, match="one peer"):
                conn.send_to(b"x", ("127.0.0.1", 1))

    handler = Writes()
    with served(backend, handler) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, 600_006) == b"abcdef" + b"g" * 600_000
        conn = handler.expect("open")
        until(lambda: on_loop(conn.loop, lambda: conn.outbound_buffered) == 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_async_writes_of_eight_threads(backend: str) -> None:
    """Each thread's order is kept, nothing is lost, and every callback comes on the loop."""
    handler = Recorder()
    answers: list[tuple[int, Exception | None]] = []
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")

        def told(_: ringnet.Connection, error: Exception | None) -> None:
            answers.append((threading.get_ident(), error))

        def write(thread: int) -> None:
            for number in range(0, 500, 2):
                conn.async_write(b"%d:%04d\n" % (thread, number), told)
                conn.async_writev([b"%d:" % thread, b"%04d\n" % (number + 1)], told)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        got = receive(client, 8 * 500 * 7)
        for thread in threads:
            thread.join()
        until(lambda: len(answers) == 4000)
        assert set(answers) == {(conn.loop.ident, None)}
    lines = got.decode().splitlines()
    for n in range(8):
        mine = [line for line in lines if line.startswith(f"{n}:")]
        assert mine == [f"{n}:{number:04d}" for number in range(500)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_the_close_callbacks_get_the_error_and_foreign_threads_none(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Recorder()
    told: Queue[Any] = Queue()
    with served(backend, handler) as engine:
        with dial(engine):
            conn = handler.expect("open")
        handler.expect("close")

        def tell(_: ringnet.Connection, error: Exception | None) -> None:
            told.put(type(error))

        conn.async_write(b"x", tell)
        conn.async_writev([b"x"], tell)
        conn.wake(tell)
        assert [told.get(timeout=WAIT) for _ in range(3)] == [ringnet.ConnectionClosed] * 3
        conn.close(tell)
        assert told.get(timeout=WAIT) is type(None)
        conn.async_write(b"x")  # nobody to tell: then the log
        until(lambda: "async_write of 1 bytes" in caplog.text)
        for call in (conn.next, conn.peek, conn.flush, conn.dup, partial(conn.write, b"")):
            with pytest.raises(ringnet.ConnectionClosed):
                on_loop(conn.loop, call)
        assert conn.fileno() == -1
    with pytest.raises(ringnet.ConnectionClosed):
        conn.async_write(b"x", tell)


@pytest.mark.parametrize("backend", BACKENDS)
def test_wake_calls_on_traffic_on_the_loop(backend: str) -> None:
    calls: Queue[tuple[int, bytes]] = Queue()

    class Woken(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            calls.put((threading.get_ident(), conn.peek()))

    handler = Woken()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        told: Queue[Any] = Queue()
        conn.wake(lambda c, error: told.put((c, error)))
        assert told.get(timeout=WAIT) == (conn, None)
        assert calls.get(timeout=WAIT) == (conn.loop.ident, b"")
        client.sendall(b"left")
        assert calls.get(timeout=WAIT)[1] == b"left"
        conn.wake()
        assert calls.get(timeout=WAIT) == (conn.loop.ident, b"left")


@pytest.mark.parametrize("backend", BACKENDS)
def test_close_with_callback_from_any_thread(backend: str) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        order: Queue[str] = Queue()
        conn.close(lambda c, error: order.put(f"callback {error}"))
        conn.close()
        assert client.recv(1) == b""
        client.close()
        assert handler.expect("close") is None
        assert order.get(timeout=WAIT) == "callback None"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_a_connection_knows(backend: str) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        assert conn.remote_address == client.getsockname()
        assert on_loop(conn.loop, lambda: conn.local_address) == client.getpeername()
        assert conn.context is None
        conn.context = "mine"
        assert conn.loop is engine.reactors[0]
        assert conn.listener is engine.listeners[0]
        assert os.fstat(conn.fileno())
        assert "open" in repr(conn)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dup_outlives_the_connection(backend: str) -> None:
    handler = Recorder()
    before = open_descriptors()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        with socket.socket(fileno=on_loop(conn.loop, conn.dup)) as mine:
            on_loop(conn.loop, conn.close_now)
            handler.expect("close")
            client.sendall(b"still connected")
            mine.settimeout(WAIT)
            assert mine.recv(100) == b"still connected"
    assert open_descriptors() == before


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.next(),
        lambda c: c.peek(),
        lambda c: c.discard(),
        lambda c: c.write(b"x"),
        lambda c: c.writev([b"x"]),
        lambda c: c.flush(),
        lambda c: c.dup(),
        lambda c: c.close_now(),
        lambda c: c.reset(),
        lambda c: c.set_no_delay(True),
    ],
)
def test_a_wrong_thread_is_told_so(backend: str, call: Callable[[Any], object]) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        with pytest.raises(ringnet.WrongThread, match="async_write, wake or close"):
            call(conn)
        client.sendall(b"fine")
        assert receive(client, 4) == b"fine"
