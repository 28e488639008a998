"""Time limits. None is enforced early; late by an eighth of it, and what a machine adds."""

from __future__ import annotations

import socket
from time import monotonic, sleep

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served

LIMIT = 0.4  # seconds
CLOCK = 0.02  # seconds between what a test sees and what the engine saw


class Timed(Recorder):
    """Echoes, and notes when a connection ended."""

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
        self.ended = monotonic()
        super().on_close(conn, error)

    def limit_passed(self, since: float, name: str, limit: float = LIMIT) -> None:
        error = self.expect("close")
        assert isinstance(error, TimeoutError)
        assert name in str(error)
        assert self.ended - since >= limit - CLOCK, "never early"


def ends_after(client: socket.socket) -> None:
    client.settimeout(WAIT)
    assert client.recv(1) == b""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("how", ["option", "call"])
def test_a_peer_that_says_no_more(backend: str, how: str) -> None:
    handler = Timed()
    options = {"read_timeout": LIMIT} if how == "option" else {}
    with served(backend, handler, **options) as engine, dial(engine) as client:
        conn = handler.expect("open")
        if how == "call":
            on_loop(conn.loop, lambda: conn.set_read_timeout(LIMIT))
        start = monotonic()
        while monotonic() < start + 2 * LIMIT:  # each byte begins it anew
            client.sendall(b"x")
            receive(client, 1)
            last = monotonic()
        ends_after(client)
        handler.limit_passed(last, "read_timeout")


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_we_send_does_not_count_as_heard(backend: str) -> None:
    handler = Timed()
    with served(backend, handler, read_timeout=LIMIT) as engine, dial(engine) as client:
        conn = handler.expect("open")
        since = monotonic()
        ticking = conn.loop.repeat(0.05, lambda: conn.write(b"x"))
        while client.recv(100):
            pass
        ticking.cancel()
        handler.limit_passed(since, "read_timeout")
        assert handler.ended - since < 2 * LIMIT + 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_byte(backend: str) -> None:
    handler = Timed()
    with (
        served(backend, handler, first_byte_timeout=LIMIT) as engine,
        dial(engine) as talks,
    ):
        first = handler.expect("open")
        talks.sendall(b"x")
        since = monotonic()
        with dial(engine) as silent:
            second = handler.expect("open")
            ends_after(silent)
        handler.limit_passed(since, "first_byte_timeout")
        assert second.fileno() == -1
        assert first.fileno() != -1
        talks.sendall(b"y")
        assert receive(talks, 2) == b"xy"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_peer_that_reads_no_more(backend: str) -> None:
    class Floods(Timed):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            conn.write(bytes(30_000_000))
            self.since = monotonic()

    handler = Floods()
    with served(backend, handler, write_timeout=LIMIT) as engine, dial(engine) as client:
        handler.expect("open")
        client.sendall(b"x")
        receive(client, 1_000_000)
        handler.limit_passed(handler.since, "write_timeout")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_slow_reader_is_no_dead_one(backend: str) -> None:
    class Floods(Timed):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            conn.write(bytes(8_000_000))

    handler = Floods()
    with (
        served(backend, handler, write_timeout=LIMIT, socket_send_buffer=65536) as engine,
        dial(engine) as client,
    ):
        handler.expect("open")
        client.sendall(b"x")
        start, count = monotonic(), 0
        while count < 8_000_000:
            part = len(receive(client, min(250_000, 8_000_000 - count)))
            assert part, "it was cut off"
            count += part
            sleep(max(0.0, start + count / 8_000_000 * 4 * LIMIT - monotonic()))
        assert handler.seen.empty()


@pytest.mark.parametrize("backend", BACKENDS)
def test_idle_is_neither_hearing_nor_saying(backend: str) -> None:
    handler = Timed()
    with served(backend, handler, idle_timeout=LIMIT) as engine, dial(engine) as client:
        conn = handler.expect("open")
        on_loop(conn.loop, lambda: conn.set_read_timeout(None))
        writes = conn.loop.repeat(LIMIT / 5, lambda: conn.write(b"x"))
        receive(client, 8)
        writes.cancel()
        last = monotonic() - LIMIT / 5
        ends_after_all(client)
        handler.limit_passed(last, "idle_timeout")


def ends_after_all(client: socket.socket) -> None:
    while client.recv(100):
        pass


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_deadline_for_one_who_sends_a_byte_at_a_time(backend: str) -> None:
    handler = Timed()
    with served(backend, handler, read_timeout=LIMIT) as engine, dial(engine) as client:
        conn = handler.expect("open")
        since = monotonic()
        on_loop(conn.loop, lambda: conn.set_deadline(2 * LIMIT))
        try:
            while True:
                client.sendall(b"x")
                if not receive(client, 1):
                    break
        except OSError:
            pass
        handler.limit_passed(since, "deadline", 2 * LIMIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_limits_can_be_lifted_and_wait_while_reading_is_paused(backend: str) -> None:
    handler = Timed()
    options = {"read_timeout": LIMIT, "idle_timeout": LIMIT}
    with served(backend, handler, **options) as engine, dial(engine) as client:
        conn = handler.expect("open")
        on_loop(conn.loop, conn.pause_reading)
        with pytest.raises(TimeoutError):
            client.settimeout(2 * LIMIT)
            client.recv(1)
        on_loop(conn.loop, lambda: lift(conn))
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        assert handler.seen.empty()


def lift(conn: ringnet.Connection) -> None:
    conn.set_read_timeout(None)
    conn.set_idle_timeout(0)
    conn.set_deadline(30)
    conn.set_deadline(None)
    conn.resume_reading()


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), "1", True])
def test_what_is_no_time_limit(wrong: object) -> None:
    handler = Recorder()
    with served("auto", handler) as engine, dial(engine):
        conn = handler.expect("open")
        with pytest.raises((ValueError, TypeError), match="a time limit must be"):
            on_loop(conn.loop, lambda: conn.set_read_timeout(wrong))
        with pytest.raises(ringnet.WrongThread):
            conn.set_read_timeout(1)


@pytest.mark.parametrize("backend", BACKENDS)
def test_messages_cost_no_timer(backend: str) -> None:
    """A limit is looked at eight times in its length, however many messages come meanwhile."""
    handler = Recorder()
    with served(backend, handler, read_timeout=60, idle_timeout=60) as engine:
        with dial(engine) as client:
            conn = handler.expect("open")
            before = on_loop(conn.loop, lambda: conn._loop.timers._count)
            for _ in range(500):
                client.sendall(b"x")
                assert receive(client, 1) == b"x"
            assert on_loop(conn.loop, lambda: conn._loop.timers._count) - before <= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_a_close_that_waits_costs_a_timer(backend: str) -> None:
    handler = Recorder()
    with served(backend, handler) as engine:
        reactor = engine.group.reactors[0]
        for ours_is_first in (False, True):
            before = on_loop(reactor, lambda: reactor.timers._count)
            with dial(engine) as client:
                conn = handler.expect("open")
                if ours_is_first:
                    conn.close()
                    assert receive(client, 1) == b""
            assert handler.expect("close") is None
            made = on_loop(reactor, lambda: reactor.timers._count) - before
            assert bool(made) == ours_is_first
