"""The handler's methods in gnet's order, their actions, and shutting down from each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, dial, on_loop, receive, until


class Everything(ringnet.EventHandler):
    """Notes each call with its thread; shuts down from the method it is told."""

    def __init__(self, ends: str = "") -> None:
        self.calls: list[str] = []
        self.threads: dict[str, int] = {}
        self.ends = ends
        self.ticks: list[float] = []

    def note(self, name: str) -> ringnet.Action:
        self.calls.append(name)
        self.threads[name] = threading.get_ident()
        return ringnet.Action.SHUTDOWN if name == self.ends else ringnet.Action.NONE

    def on_boot(self, engine: ringnet.Engine) -> ringnet.Action:
        assert engine.addresses
        return self.note("boot")

    def on_open(self, conn: ringnet.Connection) -> tuple[bytes, ringnet.Action]:
        return b"hello", self.note("open")

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action:
        conn.write(conn.next())
        return self.note("traffic")

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action:
        return self.note("end") or ringnet.Action.CLOSE

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> ringnet.Action:
        return self.note("close")

    def on_tick(self) -> tuple[float, ringnet.Action]:
        self.ticks.append(monotonic())
        done = ringnet.Action.SHUTDOWN if self.ends == "tick" else ringnet.Action.NONE
        return 0.01, done

    def on_shutdown(self, engine: ringnet.Engine) -> None:
        assert engine.count_connections() == 0
        self.note("shutdown")


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_order_of_events_and_their_threads(backend: str) -> None:
    handler = Everything()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as client:
            assert receive(client, 5) == b"hello"
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        until(lambda: "close" in handler.calls)
        loop = engine.group.reactors[0].ident
    assert handler.calls == ["boot", "open", "traffic", "end", "close", "shutdown"]
    assert handler.threads["boot"] == threading.get_ident()
    assert handler.threads["shutdown"] == loop
    assert {handler.threads[name] for name in ("open", "traffic", "end", "close")} == {loop}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ends", ["boot", "open", "traffic", "end", "close", "tick"])
def test_shutdown_from_any_method(backend: str, ends: str) -> None:
    handler = Everything(ends)
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, reactors=2).start()
    try:
        if ends not in ("boot", "tick"):
            with dial(engine) as client:
                assert receive(client, 5) == b"hello"
                if ends != "open":
                    client.sendall(b"x")
                    assert receive(client, 1) == b"x"
        assert engine.wait(WAIT)
    finally:
        engine.stop()
    assert handler.calls[-1] == "shutdown"
    assert handler.calls.count("shutdown") == 1
    assert handler.calls.count("open") == handler.calls.count("close")


class Impatient(Everything):
    """Wants in `on_boot` what comes after it."""

    def __init__(self, wanted: Callable[[ringnet.Engine], object]) -> None:
        super().__init__()
        self.wanted = wanted

    def on_boot(self, engine: ringnet.Engine) -> ringnet.Action:
        with pytest.raises(ringnet.EngineStateError, match="on_boot"):
            self.wanted(engine)
        return super().on_boot(engine)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "wanted",
    [
        lambda engine: engine.wait(),
        lambda engine: engine.wait(WAIT),
        lambda engine: engine.register(engine.addresses[0]),
    ],
)
def test_on_boot_does_not_wait_for_what_comes_after_it(
    backend: str, wanted: Callable[[ringnet.Engine], object]
) -> None:
    handler = Impatient(wanted)
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        assert handler.calls == ["boot"]
        with dial(engine) as client:
            assert receive(client, 5) == b"hello"


@pytest.mark.parametrize("backend", BACKENDS)
def test_shutdown_from_any_thread(backend: str) -> None:
    handler = Everything()
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, reactors=2).start()
    with dial(engine) as client:
        assert receive(client, 5) == b"hello"
        assert not on_loop(engine.reactors[1], engine.stop)  # it cannot wait for itself
        assert engine.wait(WAIT)
        assert client.recv(1) == b""
    assert handler.calls[-1] == "shutdown"


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_comes_after_on_shutdown(backend: str) -> None:
    """Also where many connections on several reactors end, with calls and timers on their way."""

    class Busy(Everything):
        def on_open(self, conn: ringnet.Connection) -> Any:
            conn.loop.repeat(0.001, lambda: self.note("timer"))
            return b"hello"

        def on_tick(self) -> Any:
            self.note("tick")
            return 0.001

    handler = Busy()
    options = {"backend": backend, "reactors": 3, "linger_timeout": 0.05}
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", **options).start()
    with ExitStack() as stack:
        for _ in range(30):
            assert receive(stack.enter_context(dial(engine)), 5) == b"hello"
        conns = engine.connections()
        assert len(conns) == 30
        for conn in conns:
            conn.async_write(b"x", lambda conn, error: handler.note("written"))
            conn.wake(lambda conn, error: handler.note("woken"))
            conn.close(lambda conn, error: handler.note("closed"))
        assert engine.stop()
    assert [
        reactor.thread is not None and reactor.thread.is_alive()
        for reactor in engine.group.reactors
    ] == [False] * 3
    assert handler.calls[-1] == "shutdown"
    counts = {name: handler.calls.count(name) for name in set(handler.calls)}
    expected = {"close": 30, "closed": 30, "written": 30, "woken": 30, "shutdown": 1}
    assert {name: counts[name] for name in expected} == expected


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_tick_ends_when_it_returns_none(backend: str) -> None:
    class Once(Everything):
        def on_tick(self) -> Any:
            self.ticks.append(monotonic())

    handler, later = Once(), threading.Event()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        engine.reactors[0].schedule(0.03, later.set)
        assert later.wait(WAIT)
    assert len(handler.ticks) == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("delay", [1e30, float("inf"), float("nan"), -1.0, 0])
def test_delays_that_are_strange_end_no_loop(
    backend: str, delay: float, caplog: pytest.LogCaptureFixture
) -> None:
    """Very long ones, none at all, and what is over already; what is no number is a mistake."""

    class Strange(Everything):
        def on_tick(self) -> Any:
            self.ticks.append(delay)
            return delay if len(self.ticks) < 3 else None

    handler = Strange()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        for _ in range(5):
            on_loop(engine.reactors[0], lambda: None)
        until(lambda: len(handler.ticks) == (3 if delay <= 0 else 1))
    assert ("on_tick raised" in caplog.text) == (delay != delay)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_delay_of_on_tick(backend: str) -> None:
    handler = Everything()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend):
        until(lambda: len(handler.ticks) >= 5)
    gaps = [b - a for a, b in zip(handler.ticks, handler.ticks[1:], strict=False)]
    assert min(gaps) >= 0.01


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reply", [ringnet.Action.CLOSE, (b"bye", ringnet.Action.CLOSE)])
def test_closing_by_an_action(backend: str, reply: Any) -> None:
    class Closes(Everything):
        def on_open(self, conn: ringnet.Connection) -> Any:
            self.note("open")
            return reply

    handler = Closes()
    with (
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine) as client,
    ):
        assert receive(client, 100) == (b"bye" if isinstance(reply, tuple) else b"")
    assert handler.calls == ["boot", "open", "close", "shutdown"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", ["on_open", "on_traffic", "on_close", "on_tick"])
def test_a_reply_that_is_none_of_these_is_a_mistake(
    backend: str, method: str, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = type("Wrong", (Everything,), {method: lambda self, *given: "nonsense"})()
    with ringnet.Engine(wrong, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as client:
            client.sendall(b"x")
            receive(client, 100 if method in ("on_open", "on_traffic") else 6)
        until(lambda: f"{method} " in caplog.text or f"{method} raised" in caplog.text)
    assert "nonsense" in caplog.text
