"""The contract: receivers of datagrams that are full (rule 11). Bound Unix sockets, each with the
system's limit of packets that wait in it; a pair of sockets has none."""

from __future__ import annotations

import errno
import socket
import time
from collections.abc import Callable
from pathlib import Path

import faults
import pytest
from contract_tools import STEP, Rig, pattern
from ringnet.completion import (
    CLOSED,
    DATA,
    DRAINED,
    ERROR,
    GRACEFUL,
    NOW,
    REFUSED,
    RETRY_PERIOD,
    Bounds,
)
from ringnet.sockaddr import pack, unpack

BOUNDS = Bounds()


class Place:
    """Bound Unix sockets of datagrams: one of the backend's, and receivers by name."""

    def __init__(self, made: Rig, path: Path) -> None:
        self.made, self._path = made, path
        ours = self._bound("ours")
        self.handle = made.adopt_packets(ours)

    def _bound(self, name: str) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        sock.bind(f"{self._path}/{name}")
        return sock

    def receiver(self, name: str) -> socket.socket:
        sock = self._bound(name)
        sock.setblocking(False)
        self.made.peers.append(sock)
        return sock

    def full_receiver(self, name: str) -> socket.socket:
        """One with no room for a packet, whatever a send of the backend's says."""
        receiver = self.receiver(name)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.setblocking(False)
            with pytest.raises(BlockingIOError):
                while True:
                    other.sendto(b"x", f"{self._path}/{name}")
        return receiver

    def name(self, of: str) -> bytes:
        return pack(socket.AF_UNIX, f"{self._path}/{of}")

    def send(self, to: str, data: bytes) -> None:
        self.made.backend.send_to(self.handle, data, self.name(to))

    def connected(self, to: str) -> int:
        """A handle of a socket that is bound, and connected to a receiver."""
        sock = self._bound(f"to-{to}")
        sock.connect(f"{self._path}/{to}")
        return self.made.adopt_packets(sock)

    def drained_to(self, receiver: socket.socket, most: int) -> list[bytes]:
        """Turn and read at a receiver until so many bytes wait at most; what came."""
        came: list[bytes] = []

        def is_drained() -> bool:
            came.extend(read_all(receiver))
            return self.made.staged(self.handle) <= most

        self.made.pump(is_drained)
        return came + read_all(receiver)

    def refused(self) -> list[tuple[int, int]]:
        return [(a, b) for kind, a, b in self.made.of(self.handle) if kind == REFUSED]


@pytest.fixture
def place(made: Rig, tmp_path: Path) -> Place:
    return Place(made, tmp_path)


def read_all(sock: socket.socket) -> list[bytes]:
    came = []
    try:
        while True:
            came.append(sock.recv(1 << 17))
    except BlockingIOError:
        return came


def numbered(count: int, size: int = 100) -> list[bytes]:
    return [n.to_bytes(4, "big") + pattern(size - 4) for n in range(count)]


@pytest.mark.parametrize("size", [100, 5000])
def test_a_receiver_that_reads_later_gets_each_packet_whole_and_in_order(
    place: Place, size: int
) -> None:
    slow, sent = place.receiver("slow"), numbered(60, size)
    for data in sent:
        place.send("slow", data)
    place.made.pump(lambda: 0 < place.made.staged(place.handle) < 60 * size)
    place.made.settle()
    came = read_all(slow)
    assert came == sent[: len(came)]
    assert 0 < len(came) < 60, "the system's limit is reached"
    assert place.made.staged(place.handle) == size * (60 - len(came))
    came += place.made.packets_at(slow, 60 - len(came))
    assert came == sent
    place.made.pump(lambda: place.made.staged(place.handle) == 0)
    assert place.refused() == []


def test_packets_of_many_turns_keep_their_order_behind_those_that_wait(place: Place) -> None:
    slow, sent, came = place.receiver("slow"), numbered(300), []
    for number, data in enumerate(sent):
        place.send("slow", data)
        place.made.turn(0)
        if number % 5 == 4:  # never more than a line holds
            came += place.drained_to(slow, 30 * 100)
    came += place.drained_to(slow, 0)
    assert came == sent


def test_a_full_receiver_costs_others_nothing(place: Place) -> None:
    place.receiver("slow")
    quick, sent = place.receiver("quick"), numbered(30)
    for data in sent:
        place.send("slow", data)
    for data in sent:
        place.send("quick", data)
        assert place.made.packets_at(quick, 1) == [data]
    assert place.made.staged(place.handle) > 0


def test_many_full_receivers(place: Place) -> None:
    slow = {f"slow{n}": place.receiver(f"slow{n}") for n in range(12)}
    quick, sent = place.receiver("quick"), numbered(20)
    for data in sent:
        for name in slow:
            place.send(name, data)
    for data in sent:
        place.send("quick", data)
    assert place.made.packets_at(quick, 20) == sent
    came: dict[str, list[bytes]] = {name: [] for name in slow}

    def all_came() -> bool:
        for name, sock in slow.items():
            came[name] += read_all(sock)
        return all(len(packets) == 20 for packets in came.values())

    place.made.pump(all_came)
    assert all(packets == sent for packets in came.values())
    place.made.backend.notify(place.handle)
    place.made.until(place.handle, DRAINED)


def test_waiting_for_a_full_receiver_is_no_spinning(place: Place) -> None:
    place.receiver("slow")
    for data in numbered(40):
        place.send("slow", data)
    place.made.turn(0)
    place.made.turn(STEP)
    turns, used, began = 0, time.process_time(), time.monotonic()
    while (passed := time.monotonic() - began) < 30 * RETRY_PERIOD:
        place.made.turn(0.05)
        turns += 1
    assert turns <= 4 + 2 * passed / RETRY_PERIOD
    assert time.process_time() - used < passed / 2
    assert place.made.staged(place.handle) > 0


def test_beyond_the_bound_of_a_line_packets_are_refused_and_counted(place: Place) -> None:
    slow, count = place.receiver("slow"), BOUNDS.line_packets + 50
    sent = numbered(count)
    for data in sent:
        place.send("slow", data)
    place.made.settle()
    refused = place.refused()
    assert refused == [(-errno.EAGAIN, 100)] * len(refused)
    waiting = place.made.staged(place.handle) // 100
    assert waiting == BOUNDS.line_packets or faults.is_on()
    came = place.drained_to(slow, 0)
    assert came == sent[: len(came)] or faults.is_on()
    assert len(came) + len(refused) == count
    taken = place.made.backend.sent[place.handle & 0xFFFFFF]
    assert taken == 100 * len(came), "what was refused was not sent"


def test_all_lines_together_have_a_bound(make_rig: Callable[..., Rig], tmp_path: Path) -> None:
    made = make_rig(line_bytes=20_000)
    place = Place(made, tmp_path)
    for number in range(6):
        place.full_receiver(f"slow{number}")
        for data in numbered(30, 1000):
            place.send(f"slow{number}", data)
        made.settle()
    assert 10_000 <= made.staged(place.handle) <= 20_000
    assert {a for a, _ in place.refused()} == {-errno.EAGAIN}
    quick = place.receiver("quick")
    place.send("quick", b"served")
    assert made.packets_at(quick, 1) == [b"served"]


def test_refused_packets_keep_the_bound_of_events(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    made = make_rig(events=16, line_packets=4)
    place = Place(made, tmp_path)
    slow, sent = place.receiver("slow"), numbered(300)
    for data in sent:
        place.send("slow", data)
    made.settle()
    taken = place.drained_to(slow, 0)
    made.settle()
    assert taken == sent[: len(taken)] or faults.is_on()
    assert len(taken) + len(place.refused()) == 300


def test_a_receiver_that_goes_away_refuses_what_waits_for_it(place: Place) -> None:
    slow = place.receiver("slow")
    for data in numbered(30):
        place.send("slow", data)
    place.made.settle()
    waiting = place.made.staged(place.handle) // 100
    assert waiting > 0
    slow.close()
    place.made.pump(lambda: len(place.refused()) >= waiting)
    assert place.refused() == [(-errno.ECONNREFUSED, 100)] * waiting
    assert place.made.staged(place.handle) == 0


def test_a_graceful_close_sends_what_waits_in_lines(place: Place) -> None:
    slow, sent = place.receiver("slow"), numbered(50)
    for data in sent:
        place.send("slow", data)
    place.made.settle()
    place.made.backend.close(place.handle, GRACEFUL)
    place.made.settle()
    assert not place.made.has(place.handle, CLOSED)
    assert place.made.packets_at(slow, 50) == sent
    assert place.made.until(place.handle, CLOSED) == (0, 0)


def test_closing_now_tells_what_waited_in_lines(place: Place) -> None:
    place.receiver("slow")
    for data in numbered(50):
        place.send("slow", data)
    place.made.settle()
    waiting = place.made.staged(place.handle)
    assert waiting > 0
    place.made.backend.close(place.handle, NOW)
    assert place.made.until(place.handle, CLOSED) == (waiting, 0)


def test_an_index_that_is_used_again_while_retries_are_due(place: Place) -> None:
    place.receiver("slow")
    for data in numbered(50):
        place.send("slow", data)
    place.made.settle()
    place.made.backend.close(place.handle, NOW)
    place.made.until(place.handle, CLOSED)
    handle, peer = place.made.pair()
    peer.sendall(b"a stream now")
    place.made.until(handle, DATA)
    place.made.settle()
    assert place.made.received[handle] == b"a stream now"


def test_a_connected_socket_waits_for_room(place: Place) -> None:
    slow, sent = place.receiver("slow"), numbered(60)
    handle = place.connected("slow")
    for data in sent:
        place.made.backend.send_to(handle, data)
    place.made.backend.notify(handle)
    place.made.pump(lambda: 0 < place.made.staged(handle) < 60 * 100)
    place.made.settle()
    came = read_all(slow)
    assert came == sent[: len(came)]
    assert 0 < len(came) < 60
    assert not place.made.has(handle, DRAINED)
    came += place.made.packets_at(slow, 60 - len(came))
    assert came == sent
    place.made.until(handle, DRAINED)
    assert not place.made.has(handle, REFUSED)


def test_who_waits_for_room_costs_others_nothing(made: Rig) -> None:
    """More blocked connections of packets than packets may be with the kernel."""
    blocked, peers = [], []
    for _ in range(300):
        ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4608)
        made.peers.append(peer)
        peers.append(peer)
        blocked.append(made.adopt_packets(ours))
        for _ in range(8):
            made.backend.send_to(blocked[-1], bytes(1000))
    made.settle()
    assert all(made.staged(handle) for handle in blocked)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        ours.bind(("127.0.0.1", 0))
        handle = made.adopt_packets(ours)
        for number in range(50):
            data = number.to_bytes(2, "big")
            made.backend.send_to(handle, data, pack(socket.AF_INET, peer.getsockname()))
            assert made.packets_at(peer, 1) == [data]
    for handle, peer in zip(blocked, peers, strict=True):
        made.backend.close(handle, NOW)
        peer.close()
    made.pump(lambda: all(made.has(handle, CLOSED) for handle in blocked))


def test_a_blocked_connection_that_breaks(place: Place) -> None:
    ours, peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    handle = place.made.adopt_packets(ours)
    for _ in range(300):
        place.made.backend.send_to(handle, bytes(4000))
    place.made.settle()
    assert place.made.staged(handle) > 0
    peer.close()
    a, _ = place.made.until(handle, ERROR)
    assert a in (-errno.EPIPE, -errno.ECONNRESET)
    place.made.backend.close(handle, NOW)
    place.made.until(handle, CLOSED)


def test_the_sender_is_told_to_each(place: Place) -> None:
    quick = place.receiver("quick")
    place.send("quick", b"from whom?")
    place.made.backend.notify(place.handle)
    place.made.until(place.handle, DRAINED)
    data, sender = quick.recvfrom(100)
    assert (data, sender) == (b"from whom?", unpack(place.name("ours"))[1])
