"""The contract: listening, accepting and connecting (rules 4 and 10)."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from contract_tools import Rig, pack4, pack6, pack_unix, pattern
from ringnet.completion import (
    ACCEPTED,
    CLOSED,
    CONNECTED,
    DATA,
    EOF,
    ERROR,
    GRACEFUL,
    NOW,
    SHUT,
    STALLED,
)


def close_accepted(made: Rig, handle: int, start: int = 0) -> None:
    for fd in made.accepted(handle)[start:]:
        os.close(fd)


def test_three_hundred_newcomers_are_all_accepted(made: Rig) -> None:
    handle, address = made.listen()
    made.turn()
    clients = [made.client(address) for _ in range(300)]
    made.pump(lambda: len(made.accepted(handle)) == 300)
    names = {client.getsockname() for client in clients}
    seen = set()
    for fd in made.accepted(handle):
        assert not os.get_inheritable(fd)
        with socket.socket(fileno=fd) as sock:
            seen.add(sock.getpeername())
    assert seen == names
    assert set(made.kinds(handle)) == {ACCEPTED}


def test_newcomers_beyond_the_bound_of_events(make_rig: Callable[..., Rig]) -> None:
    made = make_rig(events=4)
    handle, address = made.listen()
    made.turn()
    for _ in range(50):
        made.client(address)
    made.pump(lambda: len(made.accepted(handle)) == 50)
    assert made.kinds(handle) == [ACCEPTED] * 50
    close_accepted(made, handle)


def test_an_accepted_descriptor_can_be_adopted(made: Rig) -> None:
    listener, address = made.listen()
    made.turn()
    client = made.client(address)
    made.pump(lambda: made.accepted(listener))
    handle = made.new_handle()
    made.backend.adopt(handle, made.accepted(listener)[0])
    client.sendall(b"hello")
    made.pump(lambda: made.received[handle] == b"hello")
    made.backend.send(handle, b"world")
    assert made.exchange(client, 5) == b"world"


@pytest.mark.parametrize("mode", [GRACEFUL, NOW])
def test_a_closed_listener_refuses(made: Rig, mode: int) -> None:
    handle, address = made.listen()
    made.turn()
    made.backend.close(handle, mode)
    made.until(handle, CLOSED)
    assert made.of(handle) == [(CLOSED, 0, 0)]
    with pytest.raises(ConnectionRefusedError), socket.create_connection(address):
        pass


def test_a_paused_listener_lets_newcomers_wait(made: Rig) -> None:
    handle, address = made.listen()
    made.backend.pause(handle)
    made.settle()
    made.client(address)
    made.settle()
    assert made.of(handle) == []
    made.backend.resume(handle)
    made.until(handle, ACCEPTED)
    assert made.kinds(handle) == [ACCEPTED]
    close_accepted(made, handle)


def test_a_newcomer_that_went_away_harms_nobody(made: Rig) -> None:
    handle, address = made.listen()
    for _ in range(5):
        made.client(address).close()
    last = made.client(address)
    name = last.getsockname()

    def is_here() -> bool:
        return name in [peer_of(fd) for fd in made.accepted(handle)]

    made.pump(is_here)
    assert set(made.kinds(handle)) == {ACCEPTED}
    close_accepted(made, handle)


def peer_of(fd: int) -> object:
    sock = socket.socket(fileno=fd)
    try:
        return sock.getpeername()
    except OSError:
        return None
    finally:
        sock.detach()


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    """Lower the limit to what is open; everything below it is in use."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = []
    highest = max(int(name) for name in os.listdir("/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                fillers.append(os.dup(0))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in fillers:
            os.close(fd)


def test_out_of_descriptors_it_stalls_once_until_resumed(made: Rig) -> None:
    # No turn before the limit: io_uring takes the limit of the moment when it begins to accept.
    handle, address = made.listen()
    waiting = [socket.socket() for _ in range(3)]
    made.peers += waiting
    with no_free_descriptor():
        for sock in waiting:
            sock.connect(address)
        made.until(handle, STALLED)
        made.settle()
        assert made.of(handle) == [(STALLED, -errno.EMFILE, 0)]
        made.backend.resume(handle)  # in vain: it says so once more
        made.pump(lambda: len(made.of(handle)) == 2)
        made.settle()
        assert made.of(handle) == [(STALLED, -errno.EMFILE, 0)] * 2
    made.settle()
    assert made.kinds(handle) == [STALLED] * 2
    made.backend.resume(handle)
    made.pump(lambda: len(made.accepted(handle)) == 3)
    assert made.kinds(handle) == [STALLED] * 2 + [ACCEPTED] * 3
    close_accepted(made, handle)


def test_both_ends_in_one_backend(made: Rig) -> None:
    listener, address = made.listen()
    ours = made.connect(socket.AF_INET, pack4(address))
    made.until(ours, CONNECTED)
    made.pump(lambda: made.accepted(listener))
    theirs = made.new_handle()
    made.backend.adopt(theirs, made.accepted(listener)[0])
    data = pattern(1_000_000)
    made.backend.send(ours, data)
    made.backend.close(ours, GRACEFUL)
    made.until(theirs, EOF)
    made.backend.close(theirs, GRACEFUL)
    made.until(ours, CLOSED)
    made.until(theirs, CLOSED)
    assert made.received[theirs] == data
    assert made.of(ours) == [(CONNECTED, 0, 0), (SHUT, 0, 0), (CLOSED, 0, 0)]
    assert made.of(theirs) == [(DATA, 0, 0), (EOF, 0, 0), (CLOSED, 0, 0)]


@contextmanager
def echo_of(family: int, name: Any) -> Iterator[socket.socket]:
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.bind(name)
        listener.listen()
        listener.settimeout(10)
        yield listener


def talk(made: Rig, listener: socket.socket, packed: bytes) -> None:
    """Connect, send before it is connected, and be answered."""
    handle = made.connect(listener.family, packed)
    made.backend.send(handle, b"early")
    made.until(handle, CONNECTED)
    peer, _ = listener.accept()
    made.peers.append(peer)
    assert made.exchange(peer, 5) == b"early"
    peer.setblocking(True)
    peer.sendall(b"answer")
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    assert made.received[handle] == b"answer"
    assert made.of(handle) == [(CONNECTED, 0, 0), (DATA, 0, 0), (EOF, 0, 0)]


def test_connect_by_ipv4(made: Rig) -> None:
    with echo_of(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        talk(made, listener, pack4(listener.getsockname()))


def test_connect_by_ipv6(made: Rig) -> None:
    with echo_of(socket.AF_INET6, ("::1", 0)) as listener:
        talk(made, listener, pack6(listener.getsockname()[:2]))


def test_connect_by_path(made: Rig, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path / "socket")
    with echo_of(socket.AF_UNIX, path) as listener:
        talk(made, listener, pack_unix(path))


def test_a_refused_connect_is_an_error(made: Rig) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        handle = made.connect(socket.AF_INET, pack4(nobody.getsockname()))
        made.backend.send(handle, b"never sent")
        made.until(handle, ERROR)
    made.settle()
    assert made.of(handle) == [(ERROR, -errno.ECONNREFUSED, 0)]
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)
    assert made.of(handle)[1:] == [(CLOSED, 10, -errno.ECONNREFUSED)]


def test_a_path_where_nobody_is(made: Rig, tmp_path: Path) -> None:
    handle = made.connect(socket.AF_UNIX, pack_unix(os.fsencode(tmp_path / "nobody")))
    assert made.until(handle, ERROR) == (-errno.ENOENT, 0)


@pytest.mark.parametrize("mode", [GRACEFUL, NOW])
def test_closed_in_the_turn_of_the_connect(made: Rig, mode: int) -> None:
    with echo_of(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        handle = made.connect(socket.AF_INET, pack4(listener.getsockname()))
        made.backend.send(handle, b"12345")
        made.backend.close(handle, mode)
        made.until(handle, CLOSED)
        assert made.of(handle) == [(CLOSED, 5, 0)]
