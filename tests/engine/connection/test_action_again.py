"""Leftovers can bring `on_traffic` again, without recursion and without starving others."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, receive, served, udp_peer


class OneByOne(Recorder):
    """Takes one byte a call."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[object] = []
        self.depth = 0

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        self.depth += 1
        assert self.depth == 1, "no recursion"
        self.order.append(conn)
        conn.write(conn.next(1))
        self.depth -= 1
        return ringnet.Action.AGAIN


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_that_is_left_comes_again(backend: str) -> None:
    with served(backend, OneByOne()) as engine, dial(engine) as client:
        client.sendall(b"0123456789" * 50)
        assert receive(client, 500) == b"0123456789" * 50


class Insatiable(OneByOne):
    """Asks for its zeros again and again, and takes the last of them only when it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.enough = threading.Event()

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        if conn.peek(1) == b"\0" and conn.inbound_buffered == 1 and not self.enough.is_set():
            self.order.append(conn)
            return ringnet.Action.AGAIN
        return super().on_traffic(conn)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bound", [1, 256])
def test_others_have_their_turns_between(backend: str, bound: int) -> None:
    handler = Insatiable()
    with (
        served(backend, handler, again_per_turn=bound) as engine,
        dial(engine) as greedy,
        dial(engine) as other,
    ):
        greedy.sendall(bytes(5_000))
        receive(greedy, 1)
        for _ in range(20):
            other.sendall(b"x")
            assert receive(other, 1) == b"x"
        handler.enough.set()
        receive(greedy, 4_999)
        assert len(handler.order) >= 5_020


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_peers_end_comes_after_what_was_left(backend: str) -> None:
    handler = OneByOne()
    with served(backend, handler) as engine, dial(engine) as client:
        client.sendall(bytes(100))
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 101) == bytes(100)
        handler.expect("open")
        assert handler.expect("close") is None
        assert len(handler.order) == 100


@pytest.mark.parametrize("backend", BACKENDS)
def test_asking_with_nothing_left_does_not_spin(backend: str) -> None:
    class Asks(Recorder):
        calls = 0

        def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action:
            self.calls += 1
            conn.write(conn.next())
            return ringnet.Action.AGAIN

    handler = Asks()
    with served(backend, handler) as engine, dial(engine) as client:
        for count in (1, 2):
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
            assert handler.calls == count


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", ["udp", "unixgram"])
def test_what_is_left_of_a_datagram_is_gone(backend: str, scheme: str, tmp_path: Path) -> None:
    """Also for who asks to be called again."""

    class Half(Recorder):
        def on_traffic(self, conn: ringnet.Datagram) -> ringnet.Action:
            assert not hasattr(conn, "peer_has_ended")  # nor an end, nor limits, nor a pause
            conn.write(conn.next(conn.inbound_buffered // 2))
            return ringnet.Action.AGAIN

    address = "udp://127.0.0.1:0" if scheme == "udp" else f"unixgram://{tmp_path}/ours"
    with ringnet.Engine(Half(), address, backend=backend) as engine:
        peer = udp_peer(engine) if scheme == "udp" else unix_peer(tmp_path)
        with peer:
            for word in (b"one-one-", b"two-two-"):
                peer.send(word)
                assert peer.recv(100) == word[:4]


def unix_peer(folder: Path) -> socket.socket:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    peer.settimeout(WAIT)
    peer.bind(str(folder / "peer"))
    peer.connect(str(folder / "ours"))
    return peer
