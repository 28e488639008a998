"""G16, G18, G20: control of an engine, edge-triggered input, and logging."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, endpoint, receive, send_all_aside, until


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
def test_dup_listener_and_validate(backend: str) -> None:
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", "udp://127.0.0.1:0", backend=backend)
    with pytest.raises(ringnet.EngineStateError, match="does not run"):
        engine.validate()
    with engine:
        engine.validate()
        with engine.dup_listener() as first, engine.dup_listener(engine.addresses[1]) as second:
            assert first.getsockname() == endpoint(engine)
            assert first.type == socket.SOCK_STREAM
            assert second.type == socket.SOCK_DGRAM
            keep = first.dup()
        with pytest.raises(ValueError, match="does not listen on"):
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


@pytest.mark.parametrize("backend", ["epoll"])
@pytest.mark.parametrize("chunk", [1000, 1 << 20])
@pytest.mark.parametrize("size", [1, 100_000, 5_000_000])
def test_edge_triggered(backend: str, chunk: int, size: int) -> None:
    """The contract suite runs with edges as well; this is the option, through the engine."""
    options = {"backend": backend, "edge_triggered": True, "edge_triggered_chunk": chunk}
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine, ExitStack() as stack:
        clients = [stack.enter_context(dial(engine)) for _ in range(3)]
        data = os.urandom(size)
        senders = [send_all_aside(client, data) for client in clients]
        for client in clients:
            assert receive(client, size) == data
        for sender in senders:
            sender.join()


@pytest.mark.parametrize("backend", ["io_uring", "select"])
def test_edge_triggered_changes_nothing_elsewhere(backend: str) -> None:
    options = {"backend": backend, "edge_triggered": True}
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"x")
        assert receive(client, 1) == b"x"


class Fails(Recorder):
    def on_traffic(self, conn: ringnet.Connection) -> Any:
        raise RuntimeError("of the handler")


def make_it_fail(**options: Any) -> None:
    with ringnet.Engine(Fails(), "tcp://127.0.0.1:0", **options) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert client.recv(1) == b""


def test_a_logger_of_ones_own(caplog: pytest.LogCaptureFixture) -> None:
    make_it_fail(logger=logging.getLogger("mine"))
    assert [record.name for record in caplog.records] == ["mine"]
    assert "of the handler" in caplog.text


def test_level_and_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    make_it_fail(log_file=str(path), log_level="info")
    text = path.read_text()
    assert "serves with" in text
    assert "RuntimeError: of the handler" in text
    assert "has ended" in text
    path.unlink()
    make_it_fail(log_file=str(path), log_level="critical")
    assert path.read_text() == ""


def test_a_file_that_cannot_be_written() -> None:
    with pytest.raises(OSError, match="nowhere"):
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", log_file="/nowhere/log").start()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"log_level": "loud"}, "log_level"),
        ({"logger": "name"}, "logging.Logger"),
        ({"log_file": 3}, "a path as text"),
        ({"load_balancing": "random"}, "round_robin, least_connections, source_hash"),
        ({"cpus": [0]}, "tuple of CPU numbers"),
        ({"bind_to_device": 1}, "its name as text"),
        ({"linger": -2}, "from -1 to 65535 s"),
    ],
)
def test_options_that_are_wrong(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ringnet.OptionError, match=says):
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options)


PROGRAM = """
import sys, threading, ringnet

class Fails(ringnet.EventHandler):
    def on_boot(self, engine):
        print(engine.addresses[0], flush=True)
    def on_tick(self):
        raise RuntimeError("of the handler")

if sys.argv[1] == "run":
    threading.Timer(0.3, lambda: list(ringnet.engine.server._live)[0].stop()).start()
    ringnet.run(Fails(), "tcp://127.0.0.1:0")
else:
    with ringnet.Engine(Fails(), "tcp://127.0.0.1:0") as engine:
        engine.wait(0.3)
"""


@pytest.mark.parametrize("way", ["run", "engine"])
def test_a_library_is_silent_and_run_is_helpful(way: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, timeout=40, check=True
    )
    assert ("RuntimeError: of the handler" in done.stderr) == (way == "run")
