"""Nothing that is ready without bringing anything keeps a loop turning: a turn waits instead."""

from __future__ import annotations

import errno
import os
import socket
import sys
from time import thread_time

import pytest
from contract_tools import PATIENCE, Rig, backend_names, reset, rig, tcp_pair
from ringnet.completion import (
    ACCEPTED,
    CLOSED,
    EOF,
    ERROR,
    NOW,
    READABLE,
    READY,
    REFUSED,
    RETRY_PERIOD,
    SHUT,
    STALLED,
)
from ringnet.fallback.sockets import drop_errors
from ringnet.sockaddr import pack
from stuck import MOST_TURNS, idle_turns, turn_for

IP_RECVERR = 11
SO_TIMESTAMPING, TX_SOFTWARE, SOFTWARE = 37, 1 << 1, 1 << 4
FALLBACKS = [name for name in backend_names() if not name.startswith("io_uring")]
NOBODY = ("127.0.0.1", 1)
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="error queues are Linux's")


@linux_only
@pytest.mark.parametrize("connected", [True, False])
@pytest.mark.parametrize("name", backend_names())
def test_a_datagram_that_came_back_to_a_socket_with_an_error_queue(
    name: str, connected: bool
) -> None:
    with rig(name) as made:
        come_back(made, connected)


def come_back(made: Rig, connected: bool) -> None:
    ours = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    ours.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    ours.bind(("127.0.0.1", 0))
    address = ours.getsockname()
    if connected:
        ours.connect(NOBODY)
    handle = made.adopt_packets(ours)
    for _ in range(3):
        made.backend.send_to(
            handle, b"anybody?", b"" if connected else pack(socket.AF_INET, NOBODY)
        )
        turn_for(made, 0.2)
    assert idle_turns(made) < MOST_TURNS
    assert made.has(handle, REFUSED)
    if not connected:  # and it goes on
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.sendto(b"hello", address)
            made.pump(lambda: made.packets[handle])
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)


@linux_only
@pytest.mark.parametrize("state", ["reading", "paused", "ended", "full", "lingering"])
def test_a_stream_with_something_in_its_error_queue(made: Rig, state: str) -> None:
    ours, peer = tcp_pair(sndbuf=4096, rcvbuf=4096)
    made.peers.append(peer)
    ours.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, TX_SOFTWARE | SOFTWARE)
    handle = made.adopt(ours)
    made.turn()
    if state == "paused":
        made.backend.pause(handle)
    made.backend.send(handle, b"x" * (400_000 if state == "full" else 10))
    if state == "ended":
        peer.shutdown(socket.SHUT_WR)
        made.until(handle, EOF)
    if state == "lingering":
        made.backend.shutdown(handle)
        made.until(handle, SHUT)
    turn_for(made, 0.3)
    assert idle_turns(made) < MOST_TURNS
    if state in ("reading", "full"):
        peer.sendall(b"y" * 1000)
        made.pump(lambda: len(made.received[handle]) == 1000)


@linux_only
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_datagrams_that_are_not_to_be_received_any_more(
    made: Rig, family: socket.AddressFamily
) -> None:
    """Whoever has a duplicate may say so: it polls readable, and there is never anything."""
    ours, peer = datagram_pair(family)
    made.peers.append(peer)
    duplicate = ours.dup()
    handle = made.adopt_packets(ours)
    made.turn()
    with duplicate:
        duplicate.shutdown(socket.SHUT_RD)
    turn_for(made, 0.1)
    start = thread_time()
    assert idle_turns(made) < 2.2 / RETRY_PERIOD  # two for each, and those at both ends
    assert thread_time() - start < 0.1 * PATIENCE
    made.backend.send_to(handle, b"still sent")
    assert made.packets_at(peer, 1) == [b"still sent"]
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)


def datagram_pair(family: socket.AddressFamily) -> tuple[socket.socket, socket.socket]:
    if family == socket.AF_UNIX:
        return socket.socketpair(family, socket.SOCK_DGRAM)
    ours, peer = (socket.socket(family, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (ours, peer):
        sock.bind(("127.0.0.1", 0))
    ours.connect(peer.getsockname())
    return ours, peer


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET])
def test_emptying_the_error_queue_takes_nothing_else(kind: socket.SocketKind) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    near, far = tcp_pair()
    with ours, theirs, near, far:
        for ready, sender in ((ours, theirs), (near, far)):
            sender.send(b"all of it")
            drop_errors(ready)
            assert ready.recv(20) == b"all of it"


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("gone", [True, False])
def test_a_stream_whose_peer_has_ended(made: Rig, kind: str, gone: bool) -> None:
    """On a Unix socket the peer's close is a hang-up, which is told for ever."""
    ours, peer = tcp_pair() if kind == "tcp" else socket.socketpair()
    made.peers.append(peer)
    handle = made.adopt(ours)
    made.turn()
    if gone:
        peer.close()
    else:
        peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    assert idle_turns(made) < MOST_TURNS
    made.backend.shutdown(handle)
    made.until(handle, SHUT)
    assert idle_turns(made) < MOST_TURNS
    assert made.kinds(handle) == [EOF, SHUT]


@pytest.mark.parametrize("paused", [True, False])
def test_urgent_data_at_a_full_socket(made: Rig, paused: bool) -> None:
    """Any stranger can send a byte of it."""
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    if paused:
        made.backend.pause(handle)
    made.clog(handle, 400_000)
    peer.send(b"!", socket.MSG_OOB)
    peer.sendall(b"more")
    peer.send(b"?", socket.MSG_OOB)
    turn_for(made, 0.2)
    assert idle_turns(made) < MOST_TURNS


def test_what_rests(made: Rig) -> None:
    """A paused stream that has unread bytes and a peer that is gone; a paused listener."""
    handle, peer = made.pair()
    listener, address = made.listen()
    made.backend.pause(handle)
    made.backend.pause(listener)
    made.settle()
    made.client(address)
    peer.sendall(b"unread")
    reset(peer)
    turn_for(made, 0.2)
    assert idle_turns(made) < MOST_TURNS


@pytest.mark.parametrize("name", FALLBACKS)
def test_an_accept_that_is_refused_each_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a security module or a filter of system calls does: the newcomer stays where it is."""

    def refuse(_: socket.socket) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    with rig(name) as made:
        listener, address = made.listen()
        made.turn()
        with monkeypatch.context() as patched:
            patched.setattr(socket.socket, "accept", refuse)
            made.client(address)
            assert made.until(listener, STALLED) == (-errno.EPERM, 0)
            assert idle_turns(made) < MOST_TURNS
        made.backend.resume(listener)
        fd, _ = made.until(listener, ACCEPTED)
        os.close(fd)


def test_a_broken_stream_that_nobody_closes(made: Rig) -> None:
    handle, peer = made.pair()
    made.turn()
    reset(peer)
    made.until(handle, ERROR)
    assert idle_turns(made) < MOST_TURNS
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)


def test_a_full_stream_whose_peer_does_not_read(made: Rig) -> None:
    handle, _peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(handle, 400_000)
    made.backend.notify(handle)
    assert idle_turns(made) < MOST_TURNS
    made.backend.close(handle, 0)
    assert idle_turns(made) < MOST_TURNS


def test_a_descriptor_that_somebody_else_has_closed() -> None:
    """Select alone says so, of all of them at once: it is the error of one."""
    with rig("select") as made:
        broken, _peer = made.pair()
        datagrams = made.adopt_packets(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        healthy, other = made.pair()
        made.turn()
        read, write = os.pipe()
        poll = made.new_handle()
        made.backend.poll(poll, read, READABLE)
        made.turn()
        os.close(made.fds[broken])
        os.close(made.fds[datagrams])
        os.close(read)
        made.until(broken, ERROR)
        made.until(datagrams, ERROR)
        made.until(poll, READY)
        other.sendall(b"unharmed")
        made.pump(lambda: made.received[healthy] == b"unharmed")
        assert idle_turns(made) < MOST_TURNS
        for handle in (broken, datagrams):
            made.backend.close(handle, NOW)
            made.until(handle, CLOSED)
        os.close(write)
