"""Methods that are set on a handler, and not written in its class."""

from __future__ import annotations

from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, dial, receive, served, until
from ringnet.engine.base.action import overrides
from ringnet.engine.server.handler import EventHandler


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_each_of_them_is_called(backend: str) -> None:
    handler, seen, ticks = EventHandler(), Queue[Any](), []
    handler.on_open = lambda conn: seen.put("open")  # type: ignore[method-assign, assignment]
    handler.on_traffic = lambda conn: conn.write(conn.next())  # type: ignore[method-assign]
    handler.on_close = (  # type: ignore[method-assign, assignment]
        lambda conn, error: seen.put(("close", conn.remote_address, error))
    )
    handler.on_tick = lambda: ticks.append(1) or 0.001  # type: ignore[method-assign, func-returns-value]
    with served(backend, handler) as engine:
        with dial(engine) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
            peer = client.getsockname()
        assert seen.get(timeout=WAIT) == "open"
        assert seen.get(timeout=WAIT) == ("close", peer, None)
        until(lambda: len(ticks) > 3)


def test_those_that_on_boot_sets(backend: str) -> None:
    ticks: list[int] = []

    class Late(EventHandler):
        def on_boot(self, engine: ringnet.Engine) -> None:
            self.on_tick = self.tick  # type: ignore[method-assign]
            self.on_traffic = self.echo  # type: ignore[method-assign]

        def tick(self) -> float:
            ticks.append(1)
            return 0.001

        def echo(self, conn: ringnet.Connection) -> None:
            conn.write(conn.next())

    with served(backend, Late()) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        until(lambda: ticks)
        # Also for what the engine dials itself: both ends echo for ever.
        conn = engine.register(engine.addresses[0]).result(WAIT)
        conn.async_write(b"y")
        until(lambda: conn._loop.sent(conn._handle) > 3)


def test_a_client_handler_of_the_same_kind(backend: str) -> None:
    seen: Queue[bytes] = Queue()
    handler = EventHandler()
    echo = EventHandler()
    echo.on_traffic = lambda conn: conn.write(conn.next())  # type: ignore[method-assign]
    client = ringnet.Client(handler, backend=backend)
    handler.on_traffic = lambda conn: seen.put(conn.next())  # type: ignore[method-assign]
    with served(backend, echo) as engine, client:
        client.dial(engine.addresses[0]).async_write(b"hello")
        assert seen.get(timeout=WAIT) == b"hello"


def test_what_overrides() -> None:
    class Derived(EventHandler):
        def on_close(self, *_: object) -> None: ...

    class Other:
        def __getattr__(self, name: str) -> object:
            return getattr(inner, name)

    inner = EventHandler()
    assert overrides(Derived(), "on_close")
    assert not overrides(Derived(), "on_tick")
    assert not overrides(EventHandler(), "on_close")
    assert not overrides(Other(), "on_close")
    inner.on_close = print  # type: ignore[method-assign]
    assert overrides(inner, "on_close")
    assert overrides(Other(), "on_close")
