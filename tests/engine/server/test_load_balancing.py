"""Which reactor gets a newcomer."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, Where, dial, endpoint, on_loop, receive, talk, until


@pytest.mark.parametrize("backend", BACKENDS)
def test_least_connections(backend: str) -> None:
    options = {"backend": backend, "reactors": 2, "load_balancing": "least_connections"}
    with ringnet.Engine(Where(), "tcp://127.0.0.1:0", **options) as engine, ExitStack() as stack:
        clients = talk(engine, 8)
        assert [reactor.load for reactor in engine.reactors] == [4, 4]
        first, second = engine.reactors
        gone = {
            conn.remote_address for conn in on_loop(first, first._reactor.connections.copy).values()
        }
        for client in clients:
            if client.getsockname() in gone:
                client.close()
            else:
                stack.enter_context(client)
        until(lambda: first.load == 0)
        for client in talk(engine, 4):
            stack.enter_context(client)
        assert [first.load, second.load] == [4, 4]


@pytest.mark.parametrize("backend", BACKENDS)
def test_source_hash_keeps_a_host_together(backend: str) -> None:
    options = {"backend": backend, "reactors": 4, "load_balancing": "source_hash"}
    with ringnet.Engine(Where(), "tcp://127.0.0.1:0", **options) as engine, ExitStack() as stack:
        for last in range(1, 9):
            before = [reactor.load for reactor in engine.reactors]
            for _ in range(3):
                client = socket.create_connection(
                    endpoint(engine), 20, source_address=(f"127.0.0.{last}", 0)
                )
                stack.enter_context(client)
                client.sendall(b"0001")
                assert receive(client, 4) == b"0001"
            grown = [r.load - b for r, b in zip(engine.reactors, before, strict=True)]
            assert sorted(grown) == [0, 0, 0, 3]
        assert sum(reactor.load > 0 for reactor in engine.reactors) > 1


@pytest.mark.parametrize("reactors", [1, 3])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_balancer_of_the_users_own(backend: str, reactors: int) -> None:
    asked: list[tuple[int, Any]] = []

    def last(reactors: Sequence[ringnet.EventLoop], address: Any) -> ringnet.EventLoop:
        asked.append((len(reactors), address))
        return reactors[-1]

    options = {"backend": backend, "reactors": reactors, "load_balancing": last}
    with (
        ringnet.Engine(Where(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"0001")
        assert receive(client, 4) == b"0001"
        assert [reactor.load for reactor in engine.reactors] == [0] * (reactors - 1) + [1]
        assert asked == [(reactors, client.getsockname())]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", ["raises", "returns"])
def test_a_balancer_that_is_wrong_loses_no_connection(
    backend: str, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    def balance(reactors: Sequence[ringnet.EventLoop], address: Any) -> Any:
        return 1 / 0 if wrong == "raises" else "no reactor"

    options = {"backend": backend, "reactors": 2, "load_balancing": balance}
    with (
        ringnet.Engine(Where(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"0001")
        assert receive(client, 4) == b"0001"
    assert "load_balancing raised" in caplog.text
