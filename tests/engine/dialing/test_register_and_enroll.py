"""Connections begun or taken over by a running engine."""

from __future__ import annotations

import socket
from concurrent.futures import Future
from contextlib import ExitStack
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    Talker,
    on_loop,
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_register_and_enroll_on_a_running_engine_and_on_a_loop(backend: str) -> None:
    handler = Recorder()
    with (
        ExitStack() as stack,
        socket.create_server(("127.0.0.1", 0)) as there,
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, reactors=2) as engine,
    ):
        there.settimeout(WAIT)
        address = f"tcp://127.0.0.1:{there.getsockname()[1]}"
        peers: list[socket.socket] = []
        for begin in (
            lambda: engine.register(address, context=1),
            lambda: engine.reactors[1].register(address, context=1),
        ):
            future = begin()
            assert isinstance(future, Future)
            conn = future.result(WAIT)
            assert conn.context == 1
            assert handler.expect("open") is conn
            peers.append(stack.enter_context(there.accept()[0]))
        assert conn.loop is engine.reactors[1]
        ours, peer = socket.socketpair()
        peers.append(stack.enter_context(peer))
        enrolled = engine.reactors[0].enroll(ours, context=2).result(WAIT)
        assert enrolled.loop is engine.reactors[0]
        assert enrolled.context == 2
        ours, peer = socket.socketpair()
        peers.append(stack.enter_context(peer))
        assert engine.enroll(ours).result(WAIT).loop is engine.reactors[1]  # it had the fewest
        for peer in peers:
            peer.settimeout(WAIT)
            peer.send(b"echo")
            assert peer.recv(10) == b"echo"
        assert [reactor.load for reactor in engine.reactors] == [2, 2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_goes_wrong_is_in_the_future_or_raised_at_once(backend: str) -> None:
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine:
        for where in (engine, engine.reactors[0]):
            with pytest.raises(ConnectionRefusedError):
                where.register("tcp://127.0.0.1:1").result(WAIT)
            with pytest.raises(ringnet.AddressError):
                where.register("127.0.0.1:1")
            with socket.socket() as lonely, pytest.raises(OSError, match="not connected"):
                where.enroll(lonely)
        assert engine.count_connections() == 0
        loop = engine.reactors[0]
    ours, peer = socket.socketpair()
    with peer:
        with pytest.raises((ringnet.EngineStateError, ringnet.ConnectionClosed)):
            loop.enroll(ours)
        assert peer.recv(1) == b""  # nobody holds it
    with pytest.raises(ringnet.EngineStateError):
        engine.register("tcp://127.0.0.1:1")


@pytest.mark.parametrize("backend", BACKENDS)
def test_waiting_on_a_reactor_is_a_mistake(backend: str) -> None:
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(Talker(), engine=engine) as client,
    ):
        with pytest.raises(ringnet.EngineStateError, match="wait for itself"):
            on_loop(engine.reactors[0], lambda: client.dial(engine.addresses[0]))
        future = on_loop(engine.reactors[0], lambda: client.register(engine.addresses[0]))
        assert future.result(WAIT).loop is engine.reactors[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("address", ["tcp://127.0.0.1:1", "udp://127.0.0.1:1"])
def test_a_dial_while_the_engine_stops(backend: str, address: str) -> None:
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend).start()
    futures: list[Any] = []

    def stop_and_dial() -> None:
        loop = engine.group.reactors[0]
        loop.post(loop.stop, 1.0)
        futures.append(engine.register(address))

    on_loop(engine.reactors[0], stop_and_dial)
    engine.stop()
    with pytest.raises(ringnet.ConnectionClosed):
        futures[0].result(WAIT)
