"""G1, G2, G3: reactors, the two models of accepting, and load balancing."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, Recorder, dial, endpoint, on_loop, receive, until


class Where(Recorder):
    """Notes the reactor, and the thread, of each connection's calls."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, set[tuple[int, int]]] = {}

    def on_traffic(self, conn: ringnet.Connection) -> None:
        key = int(conn.peek())
        place = (conn.loop.number, threading.get_ident())
        self.places.setdefault(key, set()).add(place)
        conn.write(conn.next())


def talk(engine: ringnet.Engine, count: int, rounds: int = 3) -> list[socket.socket]:
    clients = [dial(engine) for _ in range(count)]
    for _ in range(rounds):
        for number, client in enumerate(clients):
            client.sendall(b"%04d" % number)
        for number, client in enumerate(clients):
            assert receive(client, 4) == b"%04d" % number
    return clients


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reuse_port", [False, True])
def test_connections_are_shared_and_never_move(backend: str, reuse_port: bool) -> None:
    handler = Where()
    options = {"backend": backend, "reactors": 3, "reuse_port": reuse_port}
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", **options) as engine, ExitStack() as stack:
        for client in talk(engine, 60):
            stack.enter_context(client)
        assert all(len(places) == 1 for places in handler.places.values())
        loads = [reactor.load for reactor in engine.reactors]
        assert sum(loads) == engine.count_connections() == 60
        if reuse_port:
            assert sum(load > 0 for load in loads) > 1  # the kernel hashes them
        else:
            assert loads == [20, 20, 20]
    assert [reactor.load for reactor in engine.reactors] == [0, 0, 0]


@pytest.mark.parametrize("backend", BACKENDS)
def test_reuse_port_gives_each_reactor_a_listener_of_the_same_port(backend: str) -> None:
    options = {"backend": backend, "reactors": 2, "reuse_port": True}
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine:
        _, port = endpoint(engine)
        with socket.socket() as another:  # a process of the same user may join
            another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            another.bind(("127.0.0.1", port))
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))


@pytest.mark.parametrize("backend", BACKENDS)
def test_least_connections(backend: str) -> None:
    options = {"backend": backend, "reactors": 2, "load_balancing": "least_connections"}
    with ringnet.Engine(Where(), "tcp://127.0.0.1:0", **options) as engine, ExitStack() as stack:
        clients = talk(engine, 8)
        assert [reactor.load for reactor in engine.reactors] == [4, 4]
        first, second = engine.reactors
        gone = {conn.remote_address for conn in on_loop(first, first.connections.copy).values()}
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


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_balancer_of_the_users_own(backend: str) -> None:
    asked: list[tuple[int, Any]] = []

    def last(reactors: Sequence[ringnet.Reactor], address: Any) -> ringnet.Reactor:
        asked.append((len(reactors), address))
        return reactors[-1]

    options = {"backend": backend, "reactors": 3, "load_balancing": last}
    with (
        ringnet.Engine(Where(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"0001")
        assert receive(client, 4) == b"0001"
        assert [reactor.load for reactor in engine.reactors] == [0, 0, 1]
        assert asked == [(3, client.getsockname())]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("wrong", ["raises", "returns"])
def test_a_balancer_that_is_wrong_loses_no_connection(
    backend: str, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    def balance(reactors: Sequence[ringnet.Reactor], address: Any) -> Any:
        return 1 / 0 if wrong == "raises" else "no reactor"

    options = {"backend": backend, "reactors": 2, "load_balancing": balance}
    with (
        ringnet.Engine(Where(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"0001")
        assert receive(client, 4) == b"0001"
    assert "load_balancing raised" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_multicore_and_cpus(backend: str) -> None:
    usable = sorted(os.sched_getaffinity(0))
    options = {"backend": backend, "multicore": True, "cpus": tuple(usable)}
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine:
        assert len(engine.reactors) == len(usable)
        for reactor in engine.reactors:
            cpus = on_loop(reactor, lambda: os.sched_getaffinity(0))
            assert cpus == {usable[reactor.number]}
    assert os.sched_getaffinity(0) == set(usable)


def test_reactors_that_are_told_count_more_than_multicore() -> None:
    assert ringnet.Engine(Recorder(), "tcp://:0", multicore=True, reactors=3).options.reactors == 3


def test_a_cpu_that_is_not_there() -> None:
    threads = threading.active_count()
    with pytest.raises(OSError, match=r"cpus.*4095"):
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", cpus=(4095,)).start()
    assert threading.active_count() == threads
