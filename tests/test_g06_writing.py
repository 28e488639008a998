"""G6: writing, from the connection's thread and from others."""

from __future__ import annotations

import io
import threading

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
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
