"""G15: connections begun or taken over by a running engine."""

from __future__ import annotations

import socket
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
        socket.create_server(("127.0.0.1", 0)) as there,
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, reactors=2) as engine,
    ):
        there.settimeout(WAIT)
        address = f"tcp://127.0.0.1:{there.getsockname()[1]}"
        peers = []
        for begin in (
            lambda: engine.register(address, context=1),
            lambda: engine.reactors[1].register(address, context=1),
        ):
            conn = begin().result(WAIT)
            assert handler.expect("open") is conn
            peers.append(there.accept()[0])
        assert conn.loop is engine.reactors[1]
        ours, peer = socket.socketpair()
        peers.append(peer)
        enrolled = engine.reactors[0].enroll(ours).result(WAIT)
        assert enrolled.loop is engine.reactors[0]
        for peer in peers:
            peer.settimeout(WAIT)
            peer.send(b"echo")
            assert peer.recv(10) == b"echo"
        assert engine.count_connections() == 3
        for peer in peers:
            peer.close()


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
        loop = engine.reactors[0]
        loop.post(loop.stop, 1.0)
        futures.append(engine.register(address))

    on_loop(engine.reactors[0], stop_and_dial)
    engine.stop()
    with pytest.raises(ringnet.ConnectionClosed):
        futures[0].result(WAIT)
