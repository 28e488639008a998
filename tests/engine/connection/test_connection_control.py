"""Controlling a connection."""

from __future__ import annotations

import os
import socket
import threading
from functools import partial
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    dial,
    on_loop,
    open_descriptors,
    served,
    until,
)


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
        assert calls.get(timeout=WAIT) == (conn._loop.ident, b"")
        client.sendall(b"left")
        while calls.get(timeout=WAIT)[1] != b"left":
            pass  # a part of it
        conn.wake()
        assert calls.get(timeout=WAIT) == (conn._loop.ident, b"left")


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
