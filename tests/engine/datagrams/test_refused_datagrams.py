"""Datagrams that are not sent: the handler hears of them; broadcast; one copy of a group's."""

from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, on_loop, udp_peer, until
from ringnet.engine.base.options import make_options

EVERYBODY = ("255.255.255.255", 9)
LOOPBACK = ("127.255.255.255", 9)


class SendTo(Recorder):
    """Sends what arrives elsewhere."""

    def __init__(self, address: Any) -> None:
        super().__init__()
        self.address = address
        self.refused: Queue[tuple[Any, OSError]] = Queue()

    def on_traffic(self, conn: ringnet.Connection) -> None:
        conn.send_to(conn.next(), self.address)
        conn.write(b"done")

    def on_refused(self, listener: ringnet.Listener, error: OSError) -> None:
        self.refused.put((listener, error))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_refusal_is_told_to_the_handler(backend: str) -> None:
    handler = SendTo(LOOPBACK)
    with (
        ringnet.Engine(handler, "udp4://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        for _ in range(3):
            peer.send(b"to all")
            assert peer.recv(10) == b"done"
            listener, error = handler.refused.get(timeout=WAIT)
            assert listener is engine.listeners[0]
            assert error.errno == errno.EACCES
        assert engine.group.reactors[0].endpoints.refused == 3


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("address", ["udp4://0.0.0.0:0", "udp://:0"])
def test_broadcast(backend: str, address: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.settimeout(WAIT)
        other.bind(("0.0.0.0", 0))
        handler = SendTo(("127.255.255.255", other.getsockname()[1]))
        with ringnet.Engine(handler, address, backend=backend, broadcast=True) as engine:
            port = int(engine.addresses[0].rpartition(":")[2])
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.settimeout(WAIT)
                peer.connect(("127.0.0.1", port))
                peer.send(b"to all")
                assert other.recv(100) == b"to all"
                assert peer.recv(10) == b"done"
        assert handler.refused.empty()


@pytest.mark.parametrize("backend", BACKENDS)
def test_broadcast_from_a_dialed_socket(backend: str) -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
        ringnet.Client(Recorder(), backend=backend, broadcast=True) as client,
    ):
        other.settimeout(WAIT)
        other.bind(("0.0.0.0", 0))
        conn = client.dial(f"udp4://127.255.255.255:{other.getsockname()[1]}")
        on_loop(conn.loop, lambda: conn.write(b"to all"))
        assert other.recv(100) == b"to all"


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_asked_broadcast_is_answered_from_the_hosts_own_address(backend: str) -> None:
    handler = Recorder()
    with (
        ringnet.Engine(handler, "udp4://0.0.0.0:0", backend=backend) as engine,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        port = int(engine.addresses[0].rpartition(":")[2])
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        peer.settimeout(WAIT)
        peer.sendto(b"anybody?", ("127.255.255.255", port))
        data, sender = peer.recvfrom(100)
        assert (data, sender[1]) == (b"anybody?", port)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_raising_on_refused_harms_nothing(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    class Raise(SendTo):
        def on_refused(self, listener: ringnet.Listener, error: OSError) -> None:
            super().on_refused(listener, error)
            raise ValueError("of the handler's own")

    handler = Raise(LOOPBACK)
    with (
        ringnet.Engine(handler, "udp4://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        for _ in range(2):
            peer.send(b"x")
            assert peer.recv(10) == b"done"
            handler.refused.get(timeout=WAIT)
        assert engine.is_running
    assert "on_refused raised" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_receiver_that_is_gone(backend: str, tmp_path: Path) -> None:
    handler = SendTo(f"{tmp_path}/nobody")
    with (
        ringnet.Engine(handler, f"unixgram://{tmp_path}/s", backend=backend),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer,
    ):
        peer.settimeout(WAIT)
        peer.bind(f"{tmp_path}/peer")
        peer.sendto(b"x", f"{tmp_path}/s")
        assert peer.recv(10) == b"done"
        assert handler.refused.get(timeout=WAIT)[1].errno == errno.ENOENT


def test_the_option_is_checked() -> None:
    with pytest.raises(ringnet.OptionError, match="'broadcast' must be True or False"):
        make_options({"broadcast": 1})


class Count(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[bytes] = []

    def on_traffic(self, conn: ringnet.Connection) -> None:
        self.got.append(conn.next())
        conn.write(b"got it")


def to_groups() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("4s4si", bytes(4), bytes(4), socket.if_nametoindex("lo"))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
    sock.settimeout(WAIT)
    return sock


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("joins", [True, False])
def test_a_groups_datagram_comes_once_to_all_reactors(backend: str, joins: bool) -> None:
    group, handler = "239.255.77.81", Count()
    options = {"backend": backend, "reactors": 3, "reuse_port": True, "multicast_interface": "lo"}
    address = "udp4://0.0.0.0:0" if joins else f"udp4://{group}:0"
    with ringnet.Engine(handler, address, **options) as engine, to_groups() as peer:
        port = int(engine.addresses[0].rpartition(":")[2])
        if joins:
            engine.listeners[0].join_group(group, "lo")
        for number in range(5):
            peer.sendto(b"%d" % number, (group, port))
            assert peer.recv(10) == b"got it"
        for reactor in engine.reactors:
            on_loop(reactor, lambda: None)
        until(lambda: len(handler.got) >= 5)
        if joins:
            engine.listeners[0].leave_group(group, "lo")
    assert handler.got == [b"%d" % n for n in range(5)]
