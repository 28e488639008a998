"""A programmer's mistake raises at the call: not later on a loop, where nobody would hear of it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any
from unittest import mock

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served, udp_peer
from ringnet.engine.connection.destination import destination

NO_COUNTS = (2.5, 2.0, float("nan"), Decimal(1), Fraction(1, 2), "2", None)
BUFFERS = (ringnet.RingBuffer, ringnet.LinkedBuffer, ringnet.MixedBuffer)
NO_CALLS = (5, "call", b"", [], object())


class Lying(bytes):
    """Says that it is shorter than it is."""

    def __len__(self) -> int:
        return 1


def readers(source: Any, n: Any) -> list[Callable[[], object]]:
    return [lambda method=method: getattr(source, method)(n) for method in ("next", "peek", "read")]


def refuses_all(source: Any) -> None:
    for n in NO_COUNTS:
        for reader in [*readers(source, n), lambda n=n: source.discard(n)]:
            with pytest.raises(TypeError):
                reader()


@pytest.mark.parametrize("make", BUFFERS)
def test_numbers_of_bytes_of_buffers(make: Callable[[], Any]) -> None:
    buffer = make()
    buffer.write(b"12345")
    refuses_all(buffer)
    with pytest.raises(ringnet.ShortBuffer):
        buffer.next(10**5000)  # which cannot be printed
    assert buffer.next() == b"12345"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("is_kept", [False, True])
def test_numbers_of_bytes_of_connections(backend: str, is_kept: bool) -> None:
    """Nothing is consumed, and the connection goes on."""

    class Tries(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            if is_kept and conn.inbound_buffered < 10:
                return  # what is left is in another buffer
            refuses_all(conn)
            conn.write(conn.next())

    with served(backend, Tries()) as engine, dial(engine) as client:
        client.sendall(b"12345")
        if is_kept:
            on_loop(engine.reactors[0], lambda: None)
            client.sendall(b"67890")
        assert receive(client, 10 if is_kept else 5) == b"1234567890"[: 10 if is_kept else 5]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_call(backend: str) -> None:
    handler = Recorder()
    pool = ringnet.WorkerPool(1)
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        for call in NO_CALLS:
            for given in (
                lambda call=call: conn.loop.execute(call),
                lambda call=call: conn.loop.schedule(0, call),
                lambda call=call: conn.loop.repeat(1, call),
                lambda call=call: conn.async_write(b"x", call),
                lambda call=call: conn.async_writev([b"x"], call),
                lambda call=call: conn.wake(call),
                lambda call=call: conn.close(call),
                lambda call=call: pool.submit(call),
                lambda call=call: pool.spawn(call),
                lambda call=call: pool.submit_to(conn, call, print),
                lambda call=call: pool.submit_to(conn, int, call),
                lambda call=call: pool.submit_to(call, int, print),
            ):
                with pytest.raises(TypeError, match=r"call|connection"):
                    given()
        assert pool.running == 0
        client.sendall(b"y")
        assert receive(client, 1) == b"y"
    pool.release(WAIT)


def test_how_long_to_wait() -> None:
    pool, pools = ringnet.WorkerPool(1), ringnet.MultiPool(1, 1)
    with served("select", Recorder()) as engine:
        for wait in (engine.wait, pool.release, pools.release):
            for seconds in ("1", b"1", Decimal(1), [], True):
                with pytest.raises(TypeError, match="a number of seconds"):
                    wait(seconds)  # type: ignore[arg-type]
            for number in (-1, float("nan"), 10**400, -(10**400)):
                with pytest.raises(ValueError, match="0 seconds or more"):
                    wait(number)
        assert not pool.is_closed
        assert not pools.is_closed


@pytest.mark.parametrize("backend", BACKENDS)
def test_bytes_with_a_length_of_their_own(backend: str) -> None:
    class Writes(Recorder):
        def on_open(self, conn: ringnet.Connection) -> bytes:
            conn.write(Lying(b"123"))
            conn.writev([Lying(b"456")])
            conn.async_write(Lying(b"789"))
            return Lying(b"x")

    handler = Writes()
    with served(backend, handler) as engine, dial(engine) as client:
        assert receive(client, 10) == b"123456x789"
        (conn,) = engine.connections()
        assert on_loop(conn.loop, lambda: conn.outbound_buffered) == 0


@pytest.mark.parametrize("make", BUFFERS)
def test_buffers_of_bytes_with_a_length_of_their_own(make: Callable[[], Any]) -> None:
    buffer = make()
    assert buffer.write(Lying(b"123")) == 3
    assert len(buffer) == 3
    assert buffer.next() == b"123"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_balancer_that_returns_what_equals_anything(backend: str) -> None:
    handler = Recorder()
    with (
        served(
            backend, handler, reactors=2, load_balancing=lambda reactors, address: mock.ANY
        ) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"x")
        assert receive(client, 1) == b"x"


@pytest.mark.parametrize("backend", BACKENDS)
def test_socket_options(backend: str) -> None:
    def tries(conn: ringnet.Connection) -> None:
        for value in (None, "1", 1.5, float("inf"), Decimal(1), []):
            for method in (
                conn.set_no_delay,
                conn.set_read_buffer,
                conn.set_write_buffer,
                conn.set_linger,
                lambda value: conn.set_keep_alive(True, value),
            ):
                with pytest.raises(TypeError, match=r"must be an int"):
                    method(value)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="SO_BINDTODEVICE must be the name"):
            conn.set_bind_to_device(None)  # type: ignore[arg-type]

    handler = Recorder()
    with served(backend, handler) as engine, dial(engine):
        conn = handler.expect("open")
        on_loop(conn.loop, lambda: tries(conn))


def test_groups_and_scopes() -> None:
    with (
        ringnet.Engine(Recorder(), "udp://127.0.0.1:0", backend="select") as engine,
        udp_peer(engine) as peer,
    ):
        for group in (None, 5, b"239.1.1.1"):
            with pytest.raises(TypeError, match="numeric address as text"):
                engine.listeners[0].join_group(group)  # type: ignore[arg-type]
        for scope in ("9999999999", "4294967296", "1" * 1000):
            with pytest.raises(OSError, match="no interface"):
                destination(10, (f"fe80::1%{scope}", 1))
        peer.send(b"x")
        assert peer.recv(1) == b"x"


def test_methods_that_nobody_would_await() -> None:
    class Awaited(Recorder):
        async def on_traffic(self, conn: ringnet.Connection) -> None:  # type: ignore[override]
            """Nobody awaits it."""

    class Yields(Recorder):
        def on_tick(self) -> Any:
            yield 1.0

    class Refused(Recorder):
        async def on_refused(  # type: ignore[override]
            self, listener: ringnet.Listener, error: OSError
        ) -> None:
            """Nobody awaits it."""

    handlers = ((Awaited(), "on_traffic"), (Yields(), "on_tick"), (Refused(), "on_refused"))
    for handler, name in handlers:
        with pytest.raises(TypeError, match=f"{name} of .* plain def"):
            ringnet.Engine(handler, "tcp://127.0.0.1:0")
        with pytest.raises(TypeError, match=f"{name} of .* plain def"):
            ringnet.Client(handler)
