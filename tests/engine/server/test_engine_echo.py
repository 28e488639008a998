"""Echo through the whole engine, byte for byte, on every backend."""

from __future__ import annotations

import os
import socket
import struct

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    Recorder,
    dial,
    endpoint,
    open_descriptors,
    receive,
    send_all_aside,
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
@pytest.mark.parametrize("size", [1, 1_000, 65_536, 1_000_000, 9_000_000])
def test_echo_is_byte_for_byte(backend: str, reactors: int, size: int) -> None:
    data = os.urandom(size)
    options = {"backend": backend, "reactors": reactors}
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        assert engine.backend == backend
        sender = send_all_aside(client, data)
        assert receive(client, size) == data
        sender.join()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_peer_that_ended_its_side_gets_all_it_is_owed(backend: str) -> None:
    data = os.urandom(9_000_000)
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine) as client,
    ):

        def send() -> None:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)

        import threading

        sender = threading.Thread(target=send)
        sender.start()
        assert receive(client, len(data) + 1) == data
        sender.join()


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_byte_segments(backend: str) -> None:
    class Lines(ringnet.EventHandler):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            while b"\n" in (there := conn.peek()):
                conn.write(conn.next(there.index(b"\n") + 1).upper())

    with (
        ringnet.Engine(Lines(), "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine) as client,
    ):
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"one\ntwo\nthree\n":
            client.send(bytes([byte]))
        assert receive(client, 14) == b"ONE\nTWO\nTHREE\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_connections_at_once(backend: str) -> None:
    count = 400 if backend == "select" else 3_000  # select(2) takes no more than 1024
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend, reactors=2) as engine:
        clients = [dial(engine) for _ in range(count)]
        try:
            for number, client in enumerate(clients):
                client.sendall(struct.pack("!Q", number))
            for number, client in enumerate(clients):
                assert receive(client, 8) == struct.pack("!Q", number)
            assert engine.count_connections() == count
        finally:
            for client in clients:
                client.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_abrupt_closes_leave_nothing_behind(backend: str) -> None:
    before = open_descriptors()
    handler = Recorder()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as steady:
            steady.sendall(b"first")
            assert receive(steady, 5) == b"first"
            handler.expect("open")
            for _ in range(300):
                client = dial(engine)
                client.sendall(os.urandom(100_000))
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            ends = [handler.seen.get(timeout=20)[0] for _ in range(600)]
            assert ends.count("open") == ends.count("close") == 300
            steady.sendall(b"still here")
            assert receive(steady, 10) == b"still here"
        assert endpoint(engine)
        assert handler.expect("close") is None
    assert handler.expect("shutdown") == 0
    assert open_descriptors() == before
