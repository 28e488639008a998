"""Only what arrives counts against a peer's silence, and no limit runs while we do not read."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, Recorder, dial, on_loop, receive, served

LIMIT = 0.4  # seconds
LOOKS: dict[str, Callable[[ringnet.Connection], object]] = {
    "next": lambda conn: conn.next(),
    "next(0)": lambda conn: conn.next(0),
    "read": lambda conn: conn.read(),
    "peek": lambda conn: conn.peek(),
    "discard": lambda conn: conn.discard(),
    "readinto": lambda conn: conn.readinto(bytearray(10)),
}
LIMITS = ["first_byte_timeout", "read_timeout", "idle_timeout"]


class Looks(Recorder):
    """Looks for bytes in `on_open`, and whenever it is woken."""

    def __init__(self, look: Callable[[ringnet.Connection], object]) -> None:
        super().__init__()
        self.look = look

    def on_open(self, conn: ringnet.Connection) -> None:
        self.look(conn)
        super().on_open(conn)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        self.look(conn)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("limit", LIMITS)
def test_looking_for_bytes_is_not_hearing(backend: str, look: str, limit: str) -> None:
    handler = Looks(LOOKS[look])
    options: dict[str, Any] = {limit: LIMIT}
    since = monotonic()
    with served(backend, handler, **options) as engine, dial(engine) as client:
        conn = handler.expect("open")
        wakes = conn.loop.repeat(LIMIT / 20, conn.wake)
        error = handler.expect("close")
        wakes.cancel()
        assert isinstance(error, TimeoutError)
        assert limit in str(error)
        assert monotonic() - since >= LIMIT - 0.02
        assert client.recv(1) == b""


@pytest.mark.parametrize("backend", BACKENDS)
def test_bytes_that_stay_unread_were_heard_once(backend: str) -> None:
    """They are looked at again and again, from the leftovers."""
    handler = Looks(lambda conn: conn.peek())
    with served(backend, handler, read_timeout=LIMIT) as engine, dial(engine) as client:
        conn = handler.expect("open")
        wakes = conn.loop.repeat(LIMIT / 20, conn.wake)
        client.sendall(b"half a message")
        assert isinstance(handler.expect("close"), TimeoutError)
        wakes.cancel()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_rests_while_reading_is_paused_from_the_start(backend: str, limit: str) -> None:
    class Pauses(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            conn.pause_reading()
            super().on_open(conn)

    handler = Pauses()
    options: dict[str, Any] = {limit: LIMIT}
    with served(backend, handler, **options) as engine:
        with dial(engine) as talks, dial(engine) as silent:
            conns = [handler.expect("open"), handler.expect("open")]
            talks.sendall(b"x")
            sleep(2 * LIMIT)
            assert handler.seen.empty()
            since = monotonic()
            for conn in conns:
                on_loop(conn.loop, conn.resume_reading)
            assert receive(talks, 1) == b"x"
            error = handler.expect("close")
            assert isinstance(error, TimeoutError)
            assert monotonic() - since >= LIMIT - 0.02, "it begins anew"
            assert silent.recv(1) == b""


@pytest.mark.parametrize("backend", BACKENDS)
def test_pausing_again_and_again_does_not_use_up_a_limit(backend: str) -> None:
    """Pauses that are shorter than the time between two looks."""
    handler = Recorder()
    with served(backend, handler, read_timeout=LIMIT, idle_timeout=LIMIT) as engine:
        with dial(engine) as client:
            conn = handler.expect("open")
            flickers = conn.loop.repeat(
                LIMIT / 40, lambda: (conn.resume_reading(), conn.pause_reading())
            )
            sleep(3 * LIMIT)
            flickers.cancel()
            assert handler.seen.empty()
            on_loop(conn.loop, conn.resume_reading)
            client.sendall(b"x")
            assert receive(client, 1) == b"x"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bound", ["max_inbound", "max_buffered"])
def test_a_limit_rests_while_a_bound_holds_reading(backend: str, bound: str) -> None:
    class Waits(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            """Leaves all unread."""

    handler = Waits()
    options: dict[str, Any] = {bound: 1000, "inbound_full": "pause"}
    limits = {"read_timeout": LIMIT, "idle_timeout": LIMIT, "first_byte_timeout": LIMIT}
    with served(backend, handler, **options, **limits) as engine, dial(engine) as client:
        client.sendall(bytes(3000))
        conn = handler.expect("open")
        sleep(2 * LIMIT)
        assert conn.fileno() != -1
        assert on_loop(conn.loop, lambda: conn.is_reading) is False
        since = monotonic()
        assert on_loop(conn.loop, conn.discard) == 3000
        assert isinstance(handler.expect("close"), TimeoutError)
        assert monotonic() - since >= LIMIT - 0.02
