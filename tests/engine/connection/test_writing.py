"""Writing, from the connection's thread and from others."""

from __future__ import annotations

import io
import threading
from queue import Queue

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    dial,
    on_loop,
    receive,
    served,
    until,
)


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
@pytest.mark.parametrize("size", [7, 3000])
def test_async_writes_of_eight_threads(backend: str, size: int) -> None:
    """Each thread's order is kept, nothing is lost, and every callback comes on the loop. The large
    ones are more than the stage and the kernel take at once."""
    handler = Recorder()
    answers: list[tuple[int, Exception | None]] = []
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        more = b"." * (size - 7)

        def told(_: ringnet.Connection, error: Exception | None) -> None:
            answers.append((threading.get_ident(), error))

        def write(thread: int) -> None:
            for number in range(0, 500, 2):
                conn.async_write(b"%d:%04d%b\n" % (thread, number, more), told)
                conn.async_writev([b"%d:" % thread, b"%04d%b\n" % (number + 1, more)], told)

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        got = receive(client, 8 * 500 * size)
        for thread in threads:
            thread.join()
        until(lambda: len(answers) == 4000)
        assert set(answers) == {(conn._loop.ident, None)}
    lines = got.decode().splitlines()
    for n in range(8):
        mine = [line for line in lines if line.startswith(f"{n}:")]
        assert mine == [f"{n}:{number:04d}{more.decode()}" for number in range(500)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ends", ["close", "stop"])
def test_async_writes_while_it_closes_are_each_answered_once(backend: str, ends: str) -> None:
    """By None for what went out, else by ConnectionClosed; the engine that has stopped raises."""
    handler = Recorder()
    answers: Queue[tuple[int, int, Exception | None]] = Queue()
    refused: Queue[tuple[int, int]] = Queue()
    under_way = threading.Event()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")

        def write(thread: int) -> None:
            for number in range(1000):
                key = (thread, number)
                try:
                    conn.async_write(b"%d:%04d\n" % key, lambda _, e, k=key: answers.put((*k, e)))
                except ringnet.ConnectionClosed:
                    refused.put(key)
                if number == 100:
                    under_way.set()

        threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        assert under_way.wait(WAIT)
        conn.close() if ends == "close" else engine.request_stop()
        got = receive(client, 8 * 1000 * 7)
        client.close()
        for thread in threads:
            thread.join()
        assert engine.wait(WAIT) if ends == "stop" else True
        until(lambda: answers.qsize() + refused.qsize() == 8000)
    told = [answers.get_nowait() for _ in range(answers.qsize())]
    assert len({(thread, number) for thread, number, _ in told}) == len(told)
    assert {type(error) for *_, error in told} <= {type(None), ringnet.ConnectionClosed}
    accepted = sorted((thread, number) for thread, number, error in told if error is None)
    arrived = sorted(tuple(map(int, line.split(":"))) for line in got.decode().splitlines())
    assert arrived == accepted
    assert refused.empty() or ends == "stop"
