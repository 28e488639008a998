"""Memory that there is not: it costs the connection that needed it, and nobody else."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from contract_tools import PATIENCE
from engine_tools import (
    BACKENDS,
    IN_CHILDREN,
    WAIT,
    Recorder,
    dial,
    receive,
    served,
    udp_peer,
    until,
)
from ringnet.engine.base.timers import Timers
from ringnet.engine.connection import stream
from ringnet.engine.connection.connection import Connection
from ringnet.engine.connection.datagram import Datagram
from ringnet.engine.reactor.streams import Streams

PROGRAM = """
import resource, sys, ringnet

def limit(more):
    with open("/proc/self/status") as status:
        (size,) = [int(line.split()[1]) for line in status if line.startswith("VmSize")]
    bound = size * 1024 + more
    resource.setrlimit(resource.RLIMIT_AS, (bound, resource.getrlimit(resource.RLIMIT_AS)[1]))

class Greedy(ringnet.EventHandler):
    def on_traffic(self, conn):
        if conn.peek(1) == b"e":
            conn.write(conn.next())
        elif conn.peek(1) == b"w":
            conn.next()
            while True:
                conn.write(bytes(1_000_000))
        # else it is left unread

    def on_close(self, conn, error):
        print("closed", type(error).__name__, flush=True)

options = {"max_inbound": 1 << 40, "max_outbound": 1 << 40, "max_buffered": 1 << 40}
engine = ringnet.Engine(Greedy(), "tcp://127.0.0.1:0", backend=sys.argv[1], **options).start()
limit(48 << 20)
print(engine.addresses[0].rpartition(":")[2], flush=True)
sys.stdin.read()
engine.stop()
print("ended", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not heed RLIMIT_AS")
@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("first", [b"k", b"w"], ids=["unread", "unsent"])
def test_a_process_without_memory_closes_the_greedy_one(backend: str, first: bytes) -> None:
    """Its address space is used up by bytes that a handler leaves, or that a peer does not read."""
    command = [sys.executable, "-c", PROGRAM, backend]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes) as server:
        try:
            assert server.stdout is not None
            address = "127.0.0.1", int(server.stdout.readline())
            with socket.create_connection(address, timeout=WAIT) as bystander:
                for _ in range(2):
                    with socket.create_connection(address, timeout=WAIT) as greedy:
                        feed(greedy, first)
                    assert server.stdout.readline() == "closed MemoryError\n"
                    bystander.sendall(b"echo")
                    assert receive(bystander, 4) == b"echo"
            assert server.stdout.readline() == "closed NoneType\n"
            assert server.stdin is not None
            server.stdin.close()
            assert server.stdout.readline() == "ended\n"
            assert server.wait(WAIT) == 0
        finally:
            server.kill()


def feed(sock: socket.socket, first: bytes) -> None:
    """Until the server has closed."""
    sock.sendall(first)
    piece = bytes(1 << 16)
    try:
        for _ in range(10_000 if first == b"k" else 0):
            sock.sendall(piece)
        while sock.recv(1 << 20):
            pass
    except ConnectionError:
        pass


# At a chosen place


class Refusing:
    """A function that finds no memory from the `nth` call on, `times` times."""

    def __init__(self, call: Callable[..., Any], nth: int = 1, times: int = 1) -> None:
        self.call = call
        self.calls = 0
        self.refused = range(nth, nth + times)

    def __get__(self, owner: Any, kind: Any = None) -> Callable[..., Any]:
        return lambda *arguments, **named: self(owner, *arguments, **named)

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls += 1
        if self.calls in self.refused:
            raise MemoryError(f"at call {self.calls}")
        return self.call(*arguments, **named)


class Keeps(Recorder):
    """Leaves what begins with `k` unread, and pushes back what begins with `w`."""

    def on_traffic(self, conn: ringnet.Connection) -> Any:
        if conn.peek(1) == b"k":
            return
        if conn.peek(1) == b"w":
            conn.next()
            for _ in range(1_000):
                conn.write(bytes(100_000))
            return
        super().on_traffic(conn)


def expect_only_its_end(handler: Recorder, error: type[BaseException]) -> None:
    while (event := handler.seen.get(timeout=WAIT))[0] != "close":
        pass
    assert isinstance(event[1], error)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("place", "name", "orders"),
    [
        (stream, "RingBuffer", [b"k"]),
        (Connection, "_put", [b"k"]),
        (Connection, "_append", [b"k", b"k"]),
        (Connection, "_keep_leftover", [b"k"]),
        (stream.LinkedBuffer, "write", [b"w"]),
        (Connection, "_pump", [b"w"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_it_closes_the_connection_that_needed_it(
    backend: str,
    place: Any,
    name: str,
    orders: list[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = Keeps()
    with served(backend, handler, max_outbound=1 << 30) as engine, dial(engine) as bystander:
        with dial(engine) as client:
            handler.expect("open"), handler.expect("open")
            for order in orders[:-1]:
                client.sendall(order)
                until(lambda: sum(conn.inbound_buffered for conn in engine.connections()))
            monkeypatch.setattr(place, name, Refusing(getattr(place, name)))
            client.sendall(orders[-1])
            if orders[-1] == b"w":
                receive(client, 1 << 30)
            else:
                assert ends_in_any_way(client)
            expect_only_its_end(handler, MemoryError)
        bystander.sendall(b"echo")
        assert receive(bystander, 4) == b"echo"
        until(lambda: engine.count_connections() == 1)
        assert engine.buffered == 0


def ends_in_any_way(client: socket.socket) -> bool:
    """Closed, or reset."""
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Streams, "_own_stream"),
        (Connection, "__init__"),
        (Timers, "add"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_newcomers(
    backend: str, reactors: int, place: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newcomer for whom there is no memory is closed, no descriptor is left, others come in."""
    handler = Recorder()
    with served(backend, handler, reactors=reactors, read_timeout=WAIT) as engine:
        with dial(engine) as bystander:
            handler.expect("open")
            with monkeypatch.context() as patch:
                patch.setattr(place, name, Refusing(getattr(place, name), times=2))
                for _ in range(2):
                    with dial(engine) as newcomer:
                        assert ends_in_any_way(newcomer)
            until(lambda: engine.count_connections() == 1)
            with dial(engine) as newcomer:
                for client in (bystander, newcomer):
                    client.sendall(b"echo")
                    assert receive(client, 4) == b"echo"


@pytest.mark.parametrize("backend", BACKENDS)
def test_datagrams(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for which there is no memory is lost, as in the network; the next is served."""

    class Echo(ringnet.EventHandler):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.write(conn.next())

    with (
        ringnet.Engine(Echo(), "udp://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        monkeypatch.setattr(Datagram, "__init__", Refusing(Datagram.__init__))
        peer.send(b"lost")
        peer.send(b"found")
        assert receive(peer, 5) == b"found"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dial(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The future says so, and nothing of it is left."""
    with served(backend, Recorder()) as engine:
        with monkeypatch.context() as patch:
            patch.setattr(Streams, "connected", Refusing(Streams.connected))
            with pytest.raises(MemoryError):
                engine.register(engine.addresses[0]).result(WAIT)
        until(lambda: engine.count_connections() == 0)
        assert engine.register(engine.addresses[0]).result(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_calls_and_timers_go_on(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What other threads asked for is not lost where the loop finds no memory to look at it."""
    ran: list[str] = []
    with served(backend, Recorder()) as engine:
        (loop,) = engine.group.reactors
        dispatch = loop._dispatch
        for kind, call in list(dispatch.items()):
            if call == loop._on_woken:
                dispatch[kind] = Refusing(call)
        loop.face.execute(lambda: ran.append("call"))
        loop.face.schedule(0, lambda: ran.append("timer"))
        until(lambda: sorted(ran) == ["call", "timer"])


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_turn_without_memory_is_tried_again(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Short(ringnet.Engine):
        def make_backend(self) -> Any:
            backend: Any = super().make_backend()
            backend.turn = Refusing(backend.turn, nth=2, times=3)
            return backend

    handler = Recorder()
    with Short(handler, "tcp://127.0.0.1:0", backend=backend) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        assert engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_loop_that_never_finds_memory_ends(backend: str) -> None:
    """In order, after a bounded number of tries: it does not spin for good."""

    class Short(ringnet.Engine):
        def make_backend(self) -> Any:
            backend: Any = super().make_backend()
            backend.turn = Refusing(backend.turn, nth=2, times=1 << 40)
            return backend

    handler = Recorder()
    engine = Short(handler, "tcp://127.0.0.1:0", backend=backend).start()
    with dial(engine), pytest.raises(MemoryError):
        engine.wait(10 * PATIENCE)
    assert not engine.is_running
