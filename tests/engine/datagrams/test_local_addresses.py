"""UDP at a socket of all addresses: which one was asked, and the answer from there."""

from __future__ import annotations

import socket
from collections.abc import Callable
from queue import Queue
from typing import Any

import pytest
import ringnet
from contract_tools import Rig
from engine_tools import BACKENDS, WAIT, Recorder
from ringnet.completion import DATAGRAM, LOCAL_AT
from ringnet.sockaddr import ask_for_local, pack, unpack

# (the listener, where it is asked, what its handler is told of that)
PLACES = [
    ("udp://0.0.0.0:0", "127.0.0.1", "127.0.0.1"),
    ("udp://0.0.0.0:0", "127.0.0.9", "127.0.0.9"),
    ("udp4://:0", "127.8.7.6", "127.8.7.6"),
    ("udp://:0", "127.0.0.9", "::ffff:127.0.0.9"),
    ("udp://:0", "::1", "::1"),
    ("udp6://[::]:0", "::1", "::1"),
]


class Tell(Recorder):
    """Answers in several ways, and tells what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Queue[Any] = Queue()

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        self.told.put((conn, conn.local_address, conn.remote_address))
        conn.write(data)
        conn.send_to(b"to " + data, conn.remote_address)


def asker(engine: ringnet.Engine, host: str) -> socket.socket:
    """A client that is connected, and so hears nobody else."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    peer = socket.socket(family, socket.SOCK_DGRAM)
    peer.settimeout(WAIT)
    peer.connect((host, port_of(engine)))
    return peer


def port_of(engine: ringnet.Engine) -> int:
    return int(engine.addresses[0].rpartition(":")[2])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("listener", "host", "told"), PLACES)
def test_the_answer_leaves_from_the_address_that_was_asked(
    backend: str, listener: str, host: str, told: str
) -> None:
    handler = Tell()
    with (
        ringnet.Engine(handler, listener, backend=backend) as engine,
        asker(engine, host) as peer,
    ):
        for size in (0, 1, 60_000):
            peer.send(b"x" * size)
            assert peer.recv(1 << 17) == b"x" * size
            assert peer.recv(1 << 17) == b"to " + b"x" * size
            conn, local, _ = handler.told.get(timeout=WAIT)
            assert local[:2] == (told, port_of(engine))
            assert len(local) == (4 if ":" in told else 2)
        conn.async_write(b"later")
        assert peer.recv(100) == b"later"
        assert conn.local_address == local, "it is kept with the datagram"


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_is_answered_from_its_own(backend: str) -> None:
    handler = Tell()
    hosts = [f"127.0.0.{n}" for n in range(1, 9)]
    with ringnet.Engine(handler, "udp://:0", backend=backend) as engine:
        peers = [asker(engine, host) for host in hosts]
        for _ in range(5):
            for number, peer in enumerate(peers):
                peer.send(b"%d" % number)
            for number, peer in enumerate(peers):
                assert [peer.recv(100), peer.recv(100)] == [b"%d" % number, b"to %d" % number]
        for peer in peers:
            peer.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_socket_of_one_address_is_not_asked(backend: str) -> None:
    handler = Tell()
    with (
        ringnet.Engine(handler, "udp://127.0.0.9:0", backend=backend) as engine,
        asker(engine, "127.0.0.9") as peer,
    ):
        peer.send(b"one")
        assert peer.recv(100) == b"one"
        conn, local, _ = handler.told.get(timeout=WAIT)
        assert local == ("127.0.0.9", port_of(engine))
        assert type(conn) is ringnet.Datagram


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_inherited_socket(backend: str) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 0))
    handler = Tell()
    with (
        ringnet.Engine(handler, f"fd://{sock.detach()}", backend=backend) as engine,
        asker(engine, "127.0.0.9") as peer,
    ):
        peer.send(b"inherited")
        assert peer.recv(100) == b"inherited"


@pytest.mark.parametrize("backend", BACKENDS)
def test_max_datagram_is_what_it_was(backend: str) -> None:
    handler = Tell()
    with (
        ringnet.Engine(handler, "udp://:0", backend=backend, max_datagram=100) as engine,
        asker(engine, "127.0.0.9") as peer,
    ):
        peer.send(b"x" * 101)
        peer.send(b"y" * 100)
        assert peer.recv(1000) == b"y" * 100
        assert engine.group.reactors[0].endpoints.truncated == 1


def wildcard(made: Rig, family: int, **options: int) -> tuple[int, int]:
    sock = socket.socket(family, socket.SOCK_DGRAM)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("", 0))
    assert ask_for_local(sock)
    port = sock.getsockname()[1]
    return made.adopt_packets(sock), port


@pytest.mark.parametrize(
    ("family", "host", "told"),
    [
        (socket.AF_INET, "127.0.0.9", "127.0.0.9"),
        (socket.AF_INET6, "127.0.0.9", "::ffff:127.0.0.9"),
        (socket.AF_INET6, "::1", "::1"),
    ],
)
def test_the_contract(made: Rig, family: socket.AddressFamily, host: str, told: str) -> None:
    handle, port = wildcard(made, family)
    with socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM
    ) as peer:
        peer.connect((host, port))
        for data in (b"", b"asked", b"again"):
            peer.send(data)
            local = b""
            while not local:
                for said, kind, a, _ in made.turn(0.01):
                    if (said, kind) == (handle, DATAGRAM):
                        size = 28 if family == socket.AF_INET6 else 16
                        start = a + LOCAL_AT
                        local = made.backend.memory[start : start + size]
            assert unpack(local)[1][0] == told
            assert made.packets[handle][-1][0] == data
            made.backend.send_to(handle, data, made.packets[handle][-1][1] + local)
            assert made.packets_at(peer, 1) == [data]


def test_a_source_that_is_not_ours_is_refused(make_rig: Callable[..., Rig]) -> None:
    made = make_rig()
    handle, _ = wildcard(made, socket.AF_INET)
    to, source = (pack(socket.AF_INET, (host, 9)) for host in ("127.0.0.1", "192.0.2.1"))
    made.backend.send_to(handle, b"x", to + source)
    from ringnet.completion import REFUSED

    a, b = made.until(handle, REFUSED)
    assert a < 0
    assert b == 1
    assert made.staged(handle) == 0
