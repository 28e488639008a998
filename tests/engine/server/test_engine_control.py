"""Control of an engine."""

from __future__ import annotations

import math
import socket
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, endpoint, receive, until


@pytest.mark.parametrize("backend", BACKENDS)
def test_counting_and_iterating(backend: str) -> None:
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend, reactors=2) as engine,
        ExitStack() as stack,
    ):
        clients = [stack.enter_context(dial(engine)) for _ in range(10)]
        for client in clients:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        assert engine.count_connections() == 10
        assert [reactor.load for reactor in engine.reactors] == [5, 5]
        there = {conn.remote_address for conn in engine.connections()}
        assert there == {client.getsockname() for client in clients}
        clients[0].close()
        until(lambda: engine.count_connections() == 9)
        assert len(engine.connections()) == 9


@pytest.mark.parametrize("backend", BACKENDS)
def test_iterating_while_connections_come_and_go(backend: str) -> None:
    """From a thread of its own, with several reactors at work."""
    options = {"backend": backend, "reactors": 2}
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine:
        over = threading.Event()
        seen: list[int] = []

        def look() -> None:
            while not over.is_set():
                assert all(isinstance(conn, ringnet.Connection) for conn in engine.connections())
                seen.append(engine.count_connections())

        watcher = threading.Thread(target=look)
        watcher.start()
        for _ in range(10):
            with ExitStack() as stack:
                for _ in range(20):
                    client = stack.enter_context(dial(engine))
                    client.sendall(b"x")
                    assert receive(client, 1) == b"x"
        until(lambda: engine.count_connections() == 0)
        over.set()
        watcher.join()
        assert engine.connections() == []
    assert max(seen) > 0
    assert min(seen) >= 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_listener_of_a_unix_address_is_dupped_too(backend: str, tmp_path: Path) -> None:
    address = f"unix://{tmp_path}/s"
    with (
        ringnet.Engine(Recorder(), address, backend=backend) as engine,
        engine.dup_listener(address) as ours,
    ):
        assert ours.getsockname() == f"{tmp_path}/s"
        ours.close()
        with socket.socket(socket.AF_UNIX) as client:  # the engine's own goes on
            client.settimeout(WAIT)
            client.connect(f"{tmp_path}/s")
            client.sendall(b"x")
            assert client.recv(1) == b"x"


@pytest.mark.parametrize("backend", BACKENDS)
def test_dup_listener_and_validate(backend: str) -> None:
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", "udp://127.0.0.1:0", backend=backend)
    with pytest.raises(ringnet.EngineStateError, match="is not running"):
        engine.validate()
    with engine:
        engine.validate()
        with engine.dup_listener() as first, engine.dup_listener(engine.addresses[1]) as second:
            assert first.getsockname() == endpoint(engine)
            assert first.type == socket.SOCK_STREAM
            assert second.type == socket.SOCK_DGRAM
            keep = first.dup()
        with pytest.raises(ValueError, match="is not listening on"):
            engine.dup_listener("tcp://127.0.0.1:1")
    with pytest.raises(ringnet.EngineStateError):
        engine.dup_listener()
    with keep, socket.create_connection(keep.getsockname(), WAIT) as client:
        keep.settimeout(WAIT)
        accepted, _ = keep.accept()  # the address is still ours: a successor may serve it
        accepted.sendall(b"mine")
        accepted.close()
        assert client.recv(10) == b"mine"


@pytest.mark.parametrize("backend", BACKENDS)
def test_timeouts_that_are_none_and_one_without_an_end(backend: str) -> None:
    handler = Recorder()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        wrong: list[tuple[Any, type[Exception]]] = [
            ("1", TypeError),
            (-1, ValueError),
            (float("nan"), ValueError),
        ]
        for timeout, error in wrong:
            with pytest.raises(error, match="timeout must be"):
                engine.stop(timeout)
        with dial(engine) as client:  # and nothing has happened
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        assert engine.stop(math.inf)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stop_closes_what_is_open_after_the_timeout(backend: str) -> None:
    class Owes(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.write(bytes(30_000_000))

    handler = Owes()
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend).start()
    with dial(engine) as client:
        client.sendall(b"x")
        handler.expect("open")
        assert client.recv(1) == b"\0"  # and no more: it never reads the rest
        assert engine.stop(timeout=0.2)
        assert engine.count_connections() == 0
        handler.expect("close")
