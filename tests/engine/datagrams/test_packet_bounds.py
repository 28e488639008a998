"""What waits to be sent as packets counts for the engine's bounds, and only as long as it waits."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, on_loop, until

KIB = 1024
LIMITS: dict[str, Any] = {"max_buffered": 256 * KIB, "high_water": 16 * KIB, "stop_timeout": 0.2}


@contextmanager
def connected(backend: str, path: Path) -> Iterator[tuple[Any, socket.socket]]:
    """A connection of packets whose peer reads when it is told to."""
    handler = Recorder()
    address = f"unixpacket://{path}/s"
    with (
        ringnet.Engine(handler, address, backend=backend, **LIMITS),
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer,
    ):
        peer.settimeout(WAIT)
        peer.connect(f"{path}/s")
        yield handler.expect("open"), peer


def fill(conn: Any) -> int:
    """Write until that is refused; how many packets were taken."""
    count = 0
    while True:
        try:
            on_loop(conn.loop, lambda: conn.write(bytes(4 * KIB)))
        except ringnet.BufferLimitExceeded:
            return count
        count += 1
        assert count < 10_000


@pytest.mark.parametrize("backend", BACKENDS)
def test_packets_count_for_max_buffered(backend: str, tmp_path: Path) -> None:
    with connected(backend, tmp_path) as (conn, peer):
        count = fill(conn)
        assert conn._loop.buffered > LIMITS["max_buffered"] - 8 * KIB
        assert on_loop(conn.loop, lambda: conn.outbound_buffered) <= LIMITS["max_buffered"]
        assert sum(len(peer.recv(1 << 17)) for _ in range(count)) == count * 4 * KIB
        until(lambda: conn._loop.buffered == 0)
        on_loop(conn.loop, lambda: conn.write(b"goes on"))
        assert peer.recv(100) == b"goes on"


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_waited_is_not_counted_when_the_connection_has_ended(
    backend: str, tmp_path: Path
) -> None:
    with connected(backend, tmp_path) as (conn, _):
        fill(conn)
        loop = conn._loop
        on_loop(loop, conn.close_now)
        until(lambda: loop.buffered == 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_listeners_datagrams_count_too(backend: str, tmp_path: Path) -> None:
    class Flood(Recorder):
        raised: Exception | None = None

        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            try:
                for _ in range(1000):
                    conn.write(bytes(1 * KIB))
            except ringnet.BufferLimitExceeded as error:
                self.raised = error

    handler = Flood()
    address = f"unixgram://{tmp_path}/s"
    with (
        ringnet.Engine(handler, address, backend=backend, **LIMITS) as engine,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer,
    ):
        peer.settimeout(WAIT)
        peer.bind(f"{tmp_path}/peer")
        peer.sendto(b"?", f"{tmp_path}/s")
        until(lambda: handler.raised is not None)
        assert "max_buffered" in str(handler.raised)
        loop = engine.group.reactors[0]
        peer.setblocking(False)

        def is_read() -> bool:
            try:
                while True:
                    peer.recv(1 << 17)
            except BlockingIOError:
                return loop.buffered == 0

        until(is_read)


def test_a_packet_of_any_size_is_checked_at_the_call(tmp_path: Path) -> None:
    with connected("io_uring", tmp_path) as (conn, _):
        huge = bytes(1 << 32)  # of pages that nobody touches
        with pytest.raises(ValueError, match="at most"):
            on_loop(conn.loop, lambda: conn.write(huge))
        with pytest.raises(ValueError, match="at most"):
            conn.async_write(huge)
