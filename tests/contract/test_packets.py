"""The contract: sockets that keep message boundaries (rule 11)."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path

import faults
import pytest
from contract_tools import Rig, pattern
from ringnet.completion import (
    CLOSED,
    DATAGRAM,
    DRAINED,
    EOF,
    ERROR,
    GRACEFUL,
    NOW,
    REFUSED,
    SHUT,
    TRUNCATED,
)
from ringnet.sockaddr import pack, unpack

LARGEST = 65_507  # bytes of a UDP datagram over IPv4


def udp(made: Rig, family: int = socket.AF_INET) -> tuple[int, socket.socket]:
    """A handle bound to the loopback, and a peer that is connected to it."""
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    ours = socket.socket(family, socket.SOCK_DGRAM)
    ours.bind((host, 0))
    peer = socket.socket(family, socket.SOCK_DGRAM)
    peer.settimeout(15)
    peer.bind((host, 0))
    peer.connect(ours.getsockname())
    made.peers.append(peer)
    return made.adopt_packets(ours), peer


def packet_pair(made: Rig, kind: int) -> tuple[int, socket.socket]:
    ours, peer = socket.socketpair(socket.AF_UNIX, kind)
    peer.settimeout(15)
    made.peers.append(peer)
    return made.adopt_packets(ours), peer


def got(made: Rig, handle: int, count: int) -> list[bytes]:
    made.pump(lambda: len(made.packets[handle]) >= count)
    return [data for data, _ in made.packets[handle]]


@pytest.mark.parametrize("size", [0, 1, 1400, 9000, LARGEST])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_datagram_comes_with_its_sender_and_goes_back(
    made: Rig, size: int, family: socket.AddressFamily
) -> None:
    handle, peer = udp(made, family)
    data = pattern(size)
    peer.send(data)
    assert got(made, handle, 1) == [data]
    name = made.packets[handle][0][1]
    assert unpack(name) == (family, peer.getsockname())
    made.backend.send_to(handle, data[::-1], name)
    assert made.packets_at(peer, 1) == [data[::-1]]
    assert made.staged(handle) == 0


def test_datagrams_keep_their_boundaries(made: Rig) -> None:
    handle, peer = udp(made)
    sent = [pattern(n) for n in range(1, 300)]
    for first in range(0, 299, 50):
        for data in sent[first : first + 50]:
            peer.send(data)
        got(made, handle, min(299, first + 50))
    assert got(made, handle, 299) == sent


def test_many_datagrams_of_one_turn(made: Rig) -> None:
    handle, peer = udp(made)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
    name = pack(socket.AF_INET, peer.getsockname())
    for number in range(100):
        made.backend.send_to(handle, number.to_bytes(2, "big"), name)
    came, sent = made.packets_at(peer, 100), [n.to_bytes(2, "big") for n in range(100)]
    assert sorted(came) == sent
    assert came == sent or faults.is_on(), "UDP may reorder, but this is one machine"


def test_more_datagrams_of_one_turn_than_may_be_with_the_kernel(made: Rig) -> None:
    handle, peer = udp(made)
    name = pack(socket.AF_INET, peer.getsockname())
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 23)
    for number in range(3000):
        made.backend.send_to(handle, number.to_bytes(2, "big"), name)
    made.turn()
    made.pump(lambda: made.staged(handle) == 0)
    peer.setblocking(False)
    came = set()
    try:
        while True:
            came.add(peer.recv(10))
    except BlockingIOError:
        pass
    assert len(came) > 100, "how many of them the peer's buffer holds is the system's affair"
    made.backend.send_to(handle, b"after them", name)
    assert made.packets_at(peer, 1) == [b"after them"]


def test_more_packets_than_may_be_with_the_kernel(made: Rig) -> None:
    handle, peer = packet_pair(made, socket.SOCK_DGRAM)
    sent = [number.to_bytes(2, "big") for number in range(3000)]
    for data in sent:
        made.backend.send_to(handle, data)
    received: list[bytes] = []
    peer.setblocking(False)

    def all_came() -> bool:
        try:
            while True:
                received.append(peer.recv(100))
        except BlockingIOError:
            return len(received) == len(sent)

    made.pump(all_came)
    assert received == sent


def test_a_truncated_datagram_is_said_and_lost(make_rig: Callable[..., Rig]) -> None:
    made = make_rig(packet_size=100, packet_buffers=4)
    handle, peer = udp(made)
    peer.send(b"x" * 101)
    peer.send(b"y" * 100)
    assert got(made, handle, 1) == [b"y" * 100]
    assert made.kinds(handle) == [TRUNCATED, DATAGRAM]


def test_few_buffers_lose_nothing(make_rig: Callable[..., Rig]) -> None:
    made = make_rig(packet_size=100, packet_buffers=2)
    handles = [udp(made) for _ in range(3)]
    for number in range(10):
        for _, peer in handles:
            peer.send(bytes([number]))
    for handle, _ in handles:
        assert got(made, handle, 10) == [bytes([n]) for n in range(10)]


def test_a_refused_datagram_harms_nothing(made: Rig) -> None:
    handle, peer = udp(made)
    name = pack(socket.AF_INET, peer.getsockname())
    made.backend.send_to(handle, b"x" * (LARGEST + 1), name)
    a, _ = made.until(handle, REFUSED)
    assert a == -errno.EMSGSIZE
    assert made.staged(handle) == 0
    made.backend.send_to(handle, b"small", name)
    assert made.packets_at(peer, 1) == [b"small"]


def test_the_error_that_comes_back_is_said(made: Rig) -> None:
    nobody = ("127.0.0.1", 1)  # no port that the system might give to somebody meanwhile
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.connect(nobody)
    handle = made.adopt_packets(ours)
    made.backend.send_to(handle, b"anybody?")
    a, _ = made.until(handle, REFUSED)
    assert a == -errno.ECONNREFUSED
    assert not made.has(handle, ERROR)


@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_a_full_socket_keeps_the_order(made: Rig, kind: int) -> None:
    handle, peer = packet_pair(made, kind)
    sent = [n.to_bytes(4, "big") * 1000 for n in range(400)]
    for data in sent:
        made.backend.send_to(handle, data)
    made.backend.notify(handle)
    made.settle()
    assert made.staged(handle) > 0
    assert not made.has(handle, DRAINED)
    received: list[bytes] = []
    peer.setblocking(False)

    def all_came() -> bool:
        try:
            while True:
                received.append(peer.recv(1 << 17))
        except BlockingIOError:
            return len(received) == len(sent)

    made.pump(all_came)
    assert received == sent
    made.until(handle, DRAINED)
    assert made.staged(handle) == 0


def test_a_graceful_close_sends_what_waits(made: Rig) -> None:
    handle, peer = packet_pair(made, socket.SOCK_DGRAM)
    sent = [bytes([n]) * 4000 for n in range(200)]
    for data in sent:
        made.backend.send_to(handle, data)
    made.backend.close(handle, GRACEFUL)
    received: list[bytes] = []
    peer.setblocking(False)

    def closed() -> bool:
        try:
            while len(received) < len(sent):
                received.append(peer.recv(1 << 17))
        except BlockingIOError:
            pass
        return made.has(handle, CLOSED)

    made.pump(closed)
    assert received == sent
    assert made.of(handle) == [(CLOSED, 0, 0)]


def test_closing_now_tells_what_was_lost(made: Rig) -> None:
    handle, peer = packet_pair(made, socket.SOCK_DGRAM)
    for _ in range(300):
        made.backend.send_to(handle, bytes(4000))
    made.settle()
    waiting = made.staged(handle)
    assert waiting > 0
    made.backend.close(handle, NOW)
    lost, _ = made.until(handle, CLOSED)
    assert lost == waiting
    peer.close()


def test_packets_of_a_connection_have_an_end(made: Rig) -> None:
    handle, peer = packet_pair(made, socket.SOCK_SEQPACKET)
    peer.send(b"one")
    peer.send(b"two")
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    assert got(made, handle, 2) == [b"one", b"two"]
    made.backend.send_to(handle, b"three")
    made.backend.close(handle, GRACEFUL)
    made.until(handle, CLOSED)
    assert peer.recv(10) == b"three"
    assert peer.recv(10) == b""


def test_a_graceful_close_of_packets_lingers(made: Rig) -> None:
    handle, peer = packet_pair(made, socket.SOCK_SEQPACKET)
    made.backend.send_to(handle, b"last")
    made.backend.close(handle, GRACEFUL)
    made.until(handle, SHUT)
    peer.send(b"dropped")
    assert peer.recv(10) == b"last"
    assert peer.recv(10) == b""
    peer.close()
    made.until(handle, CLOSED)
    assert DATAGRAM not in made.kinds(handle)


def test_a_broken_connection_of_packets(made: Rig) -> None:
    handle, peer = packet_pair(made, socket.SOCK_SEQPACKET)
    made.turn()
    peer.close()
    made.until(handle, EOF)
    made.backend.send_to(handle, b"too late")
    a, _ = made.until(handle, ERROR)
    assert a == -errno.EPIPE
    made.backend.close(handle, NOW)
    assert made.until(handle, CLOSED) == (8, -errno.EPIPE)


def test_pausing_packets(made: Rig) -> None:
    handle, peer = udp(made)
    made.turn()
    made.backend.pause(handle)
    made.settle()
    peer.send(b"later")
    made.settle()
    assert made.packets[handle] == []
    made.backend.resume(handle)
    assert got(made, handle, 1) == [b"later"]


def test_packets_over_a_path(made: Rig, tmp_path: Path) -> None:
    ours = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ours.bind(str(tmp_path / "ours"))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.settimeout(15)
        peer.bind(str(tmp_path / "peer"))
        handle = made.adopt_packets(ours)
        peer.sendto(b"hello", str(tmp_path / "ours"))
        got(made, handle, 1)
        name = made.packets[handle][0][1]
        assert unpack(name) == (socket.AF_UNIX, str(tmp_path / "peer"))
        made.backend.send_to(handle, b"hi", name)
        assert made.packets_at(peer, 1) == [b"hi"]


def test_dispose_with_packets_in_flight(made: Rig) -> None:
    handle, _peer = packet_pair(made, socket.SOCK_SEQPACKET)
    for _ in range(300):
        made.backend.send_to(handle, bytes(4000))
    made.turn()
    assert made.staged(handle) > 0  # the fixture disposes, and counts the descriptors
