"""Clients and engines that are stopping, or have stopped, begin nothing and say so."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, Talker, dial, on_loop, receive, served, until


class Redials(Talker):
    """Dials again whenever a connection ends, as a client does that wants to stay connected."""

    def __init__(self) -> None:
        super().__init__()
        self.again: Queue[Future[ringnet.Connection]] = Queue()
        self.dial: Any = None

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
        self.again.put(self.dial())
        super().on_close(conn, error)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shares", [True, False])
def test_a_stopped_client_begins_nothing(
    backend: str, shares: bool, caplog: pytest.LogCaptureFixture
) -> None:
    talker = Redials()
    with served(backend, Recorder()) as engine:
        options: dict[str, Any] = {"engine": engine} if shares else {"backend": backend}
        client = ringnet.Client(talker, **options).start()
        talker.dial = lambda: client.register(engine.addresses[0])
        for _ in range(5):
            client.dial(engine.addresses[0])
        client.stop()
        for _ in range(5):
            error = talker.again.get(timeout=WAIT).exception(WAIT)
            assert isinstance(error, ringnet.EngineStopped)
        until(lambda: client.engine.count_connections() == 0 or shares)
        until(lambda: engine.count_connections() == 0)
        assert talker.opened.qsize() == 5
        ours, peer = socket.socketpair()
        with ours, peer:
            for call in (
                lambda: client.dial(engine.addresses[0]),
                lambda: client.register(engine.addresses[0]),
                lambda: client.enroll(ours),
                client.start,
            ):
                with pytest.raises(ringnet.EngineStopped):
                    call()
            assert ours.fileno() >= 0, "it is still the caller's"
        engine.validate()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_posted_before_a_client_stopped_is_dropped(backend: str) -> None:
    talker = Talker()
    with served(backend, Recorder()) as engine:
        client = ringnet.Client(talker, engine=engine).start()
        ours, peer = socket.socketpair()
        inside, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            inside.set()
            go_on.wait(WAIT)

        engine.reactors[0].execute(hold)
        assert inside.wait(WAIT)
        dialed = client.register(engine.addresses[0])
        enrolled = engine.dialer.enroll(client._origin, ours, None)
        client.stop()
        go_on.set()
        for future in (dialed, enrolled):
            assert isinstance(future.exception(WAIT), ringnet.ConnectionClosed)
        with peer:
            peer.settimeout(WAIT)
            assert receive(peer, 1) == b""
        assert talker.opened.empty()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shares", [True, False])
def test_a_client_may_be_stopped_in_any_order(backend: str, shares: bool) -> None:
    engine = served(backend, Recorder()).start()
    options: dict[str, Any] = {"engine": engine} if shares else {"backend": backend}
    with ringnet.Client(Talker(), **options) as client:
        client.dial(engine.addresses[0])
        assert engine.stop()
        assert client.stop()
        assert client.stop()
    assert client.stop()
    early = ringnet.Client(Talker(), engine=engine)
    assert early.stop()
    with pytest.raises(ringnet.EngineStopped):
        early.start()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_is_stopped_though_the_queue_is_full(backend: str) -> None:
    talker = Talker()
    with served(backend, Recorder(), max_foreign_calls=2) as engine:
        with ringnet.Client(talker, engine=engine) as client:
            client.dial(engine.addresses[0])
            inside, go_on = threading.Event(), threading.Event()

            def hold() -> None:
                inside.set()
                go_on.wait(WAIT)

            engine.reactors[0].execute(hold)
            assert inside.wait(WAIT)
            with pytest.raises(ringnet.QueueFull):
                while True:
                    engine.reactors[0].execute(int)
        go_on.set()
        assert talker.closed.get(timeout=WAIT) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_stops_itself_on_its_loop(backend: str) -> None:
    talker = Talker()
    with served(backend, Recorder()) as engine:
        client = ringnet.Client(talker, backend=backend).start()
        conn = client.dial(engine.addresses[0])
        on_loop(conn.loop, client.stop)
        assert talker.closed.get(timeout=WAIT) is None
        assert client.stop()


class Drains(Recorder):
    """Goes on while the engine drains."""

    def on_drain(self, conn: ringnet.Connection) -> None:
        self.seen.put(("drain", conn))


@pytest.mark.parametrize("backend", BACKENDS)
def test_while_an_engine_drains_its_state_says_so(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Drains()
    engine = served(backend, handler)
    assert "new" in repr(engine)
    assert not engine.is_stopping
    engine.start()
    assert "running" in repr(engine)
    assert not engine.is_stopping
    with dial(engine):
        handler.expect("open")
        engine.request_stop(60)
        handler.expect("drain")
        assert engine.is_running
        assert engine.is_stopping
        assert "stopping" in repr(engine)
        with pytest.raises(ringnet.EngineStopped, match="is stopping"):
            engine.register("tcp://127.0.0.1:1")
        for call in (engine.register, engine.reactors[0].register):
            future: Future[Any] = on_loop(engine.reactors[0], lambda: call("tcp://127.0.0.1:1"))  # noqa: B023
            with pytest.raises(ringnet.EngineStopped, match="is stopping"):
                future.result(WAIT)
        ours, peer = socket.socketpair()
        with ours, peer:
            enrolled: Future[Any] = on_loop(engine.reactors[0], lambda: engine.enroll(ours))
            assert isinstance(enrolled.exception(WAIT), ringnet.EngineStopped)
            assert ours.fileno() >= 0, "it is still the caller's"
    assert engine.stop()
    assert not engine.is_stopping
    assert "ended" in repr(engine)
    with pytest.raises(ringnet.EngineStopped, match="is no longer running"):
        engine.register("tcp://127.0.0.1:1")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("when", ["tick", "timer", "drain", "close", "shutdown"])
def test_who_dials_while_the_engine_stops_has_the_error_in_the_future(
    backend: str, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    futures: Queue[Future[ringnet.Connection]] = Queue()

    class Dials(ringnet.EventHandler):
        def on_boot(self, engine: ringnet.Engine) -> None:
            self.engine = engine

        def try_it(self, where: str) -> None:
            if where == when and self.engine.is_stopping:
                futures.put(self.engine.register(self.engine.addresses[0]))

        def on_open(self, conn: ringnet.Connection) -> bytes:
            conn.loop.repeat(0.01, lambda: self.try_it("timer"))
            return b"!"

        def on_tick(self) -> float:
            self.try_it("tick")
            return 0.01

        def on_drain(self, conn: ringnet.Connection) -> None:
            self.try_it("drain")
            conn.loop.schedule(0.1, conn.close)

        def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
            self.try_it("close")

        def on_shutdown(self, engine: ringnet.Engine) -> None:
            self.try_it("shutdown")

    with served(backend, Dials()) as engine, dial(engine) as client:
        assert receive(client, 1) == b"!"
        assert engine.stop()
    if when != "tick":  # which may not come again
        assert not futures.empty()
    while not futures.empty():
        with pytest.raises(ringnet.EngineStopped, match="is stopping"):
            futures.get().result(WAIT)
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_is_over_says_that_the_engine_has_stopped(backend: str) -> None:
    """With the error that README names, whatever is asked of it."""
    engine = ringnet.Engine(ringnet.EventHandler(), "tcp://127.0.0.1:0", backend=backend).start()
    loop = engine.reactors[0]
    engine.stop()
    asked: list[Callable[[], object]] = [
        lambda: loop.execute(int),
        lambda: loop.schedule(0, int),
        lambda: loop.repeat(1, int),
        lambda: loop.register("tcp://127.0.0.1:1"),
        lambda: engine.register("tcp://127.0.0.1:1"),
    ]
    for ask in asked:
        with pytest.raises(ringnet.EngineStopped):
            ask()
