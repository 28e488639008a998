"""A connection belongs to one thread, so its data path needs no lock."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    dial,
    receive,
    served,
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.next(),
        lambda c: c.read(),
        lambda c: c.readinto(bytearray(1)),
        lambda c: c.write_to(io.BytesIO()),
        lambda c: c.read_from(io.BytesIO(b"x")),
        lambda c: c.shutdown_write(),
        lambda c: c.pause_reading(),
        lambda c: c.resume_reading(),
        lambda c: c.set_read_timeout(1),
        lambda c: c.set_deadline(1),
        lambda c: c.set_read_buffer(1),
        lambda c: c.set_keep_alive(True),
        lambda c: c.set_linger(1),
        lambda c: c.set_bind_to_device("lo"),
        lambda c: c.set_multicast_interface("lo"),
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_queue_of_foreign_calls_has_a_bound(backend: str) -> None:
    """Who comes when it is full is refused, and nothing that was accepted is lost."""
    handler = Recorder()
    options = {"max_foreign_calls": 10}
    with served(backend, handler, **options) as engine, dial(engine) as client:
        conn = handler.expect("open")
        held, let_go = threading.Event(), threading.Event()

        def hold() -> None:
            held.set()
            assert let_go.wait(WAIT)

        conn.loop.execute(hold)
        assert held.wait(WAIT)
        for _ in range(10):
            conn.async_write(b"x")
        for call in (conn.wake, conn.close, lambda: conn.async_write(b"y")):
            with pytest.raises(ringnet.QueueFull, match="max_foreign_calls=10"):
                call()
        with pytest.raises(ringnet.QueueFull):
            conn.loop.schedule(0, print)
        let_go.set()
        assert receive(client, 10) == b"x" * 10
        conn.async_write(b"z")  # there is room again
        assert receive(client, 1) == b"z"
