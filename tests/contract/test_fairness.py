"""The contract: who is busy holds up nobody else, and an end is one for all (rules 4, 6, 9, 10)."""

from __future__ import annotations

import errno
import os
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import faults
import pytest
from contract_tools import Rig
from engine_tools import receive
from ringnet.completion import (
    ACCEPTED,
    CLOSED,
    DATA,
    DRAINED,
    GRACEFUL,
    NOW,
    RESET,
    SHUT,
    STALLED,
    WOKEN,
)

SOON = 10.0


@contextmanager
def flooding(peers: list[socket.socket]) -> Iterator[None]:
    """Peers that always have something for us."""
    stop = threading.Event()

    def flood(peer: socket.socket) -> None:
        peer.settimeout(0.05)
        while not stop.is_set():
            with suppress(TimeoutError):
                peer.send(bytes(100_000))

    threads = [threading.Thread(target=flood, args=(peer,)) for peer in peers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(SOON)


@pytest.mark.parametrize("events", [2, 4, 16])
def test_sends_are_done_while_others_flood(make_rig: Callable[..., Rig], events: int) -> None:
    """Completions that never end may not put off what has succeeded."""
    made = make_rig(events=events)
    with flooding([made.pair()[1] for _ in range(8)]):
        handle, peer = made.pair()
        for _ in range(20):
            made.backend.send(handle, b"answer")
            made.backend.notify(handle)
            turns_until(made, handle, DRAINED)
            peer.settimeout(SOON)
            assert receive(peer, 6) == b"answer"
        made.backend.send(handle, b"farewell")
        made.backend.close(handle, GRACEFUL)
        turns_until(made, handle, SHUT)


def turns_until(made: Rig, handle: int, kind: int) -> None:
    """So many turns as there may be completions in the buffers, and a few."""
    for _ in range(1_000):
        made.received.clear()
        if any(event[:2] == (handle, kind) for event in made.turn(0.02)):
            return
    raise AssertionError(made.tail())


def test_a_full_socket_goes_on_while_others_flood(make_rig: Callable[..., Rig]) -> None:
    """What is sent needs none of the room for what is read, nor waits until there is some."""
    made = make_rig(events=16, receive_buffer_size=64)
    others = [made.pair()[1] for _ in range(200)]
    handle, peer = made.pair(sndbuf=16_384, rcvbuf=16_384)
    data = made.clog(handle, 200_000)
    for other in others:
        other.sendall(bytes(30_000))
    for _ in range(40):
        made.turn()
    left = made.staged(handle)
    assert made.exchange(peer, len(data) - left) == data[:-left]
    for _ in range(many() // 2):
        made.turn()
    assert made.staged(handle) < left


def many() -> int:
    """Turns; more on faults: what failed in passing is made again a while later."""
    return 5_000 if faults.is_on() else 100


@pytest.mark.parametrize("events", [1, 2, 3])
def test_who_asks_in_every_turn_leaves_room(make_rig: Callable[..., Rig], events: int) -> None:
    made = make_rig(events=events)
    asking = [made.pair()[0] for _ in range(3)]
    handle, peer = made.pair()
    made.settle()
    peer.sendall(b"here I am")
    made.backend.wake()

    def both() -> bool:
        return made.has(handle, DATA) and made.has(0, WOKEN)

    for _ in range(many()):
        for each in asking:
            made.backend.notify(each)
        made.turn(0.02)
    assert both(), made.tail()
    assert all(made.has(each, DRAINED) for each in asking)


@pytest.mark.parametrize("events", [1, 2, 3])
def test_who_asks_in_every_turn_is_read_as_well(make_rig: Callable[..., Rig], events: int) -> None:
    made = make_rig(events=events)
    pairs = [made.pair() for _ in range(4)]
    made.settle()
    for _, peer in pairs:
        peer.sendall(b"and I ask")
    for _ in range(many()):
        for handle, _ in pairs:
            made.backend.notify(handle)
        made.turn(0.02)
    for handle, _ in pairs:
        assert made.received[handle] == b"and I ask"
        assert made.has(handle, DRAINED)


def test_a_second_graceful_close_changes_nothing(made: Rig) -> None:
    """Also in the very turn in which SHUT is due."""
    for turns in range(3):
        handle, peer = made.pair()
        made.settle()
        made.backend.close(handle, GRACEFUL)
        for _ in range(turns):
            made.turn()
        made.backend.close(handle, GRACEFUL)
        made.until(handle, SHUT)
        peer.close()
        made.until(handle, CLOSED)
        assert made.of(handle) == [(SHUT, 0, 0), (CLOSED, 0, 0)]


def test_a_second_graceful_close_where_events_wait(make_rig: Callable[..., Rig]) -> None:
    made = make_rig(events=1)
    handles = [made.pair() for _ in range(4)]
    made.settle()
    for _ in range(3):
        for handle, _ in handles:
            made.backend.close(handle, GRACEFUL)
        made.turn()
    for handle, peer in handles:
        made.until(handle, SHUT)
        peer.close()
        made.until(handle, CLOSED)
        assert made.kinds(handle) == [SHUT, CLOSED]


@pytest.mark.parametrize("mode", [NOW, RESET])
@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_hard_close_ends_it_for_all(made: Rig, mode: int, kind: str) -> None:
    """Who else has the descriptor, as a child that was forked, does not keep the peer waiting."""
    if kind == "tcp":
        handle, peer = made.pair()
    else:
        ours, peer = socket.socketpair()
        made.peers.append(peer)
        handle = made.adopt(ours)
    other = os.dup(made.fds[handle])
    try:
        made.turn()
        made.backend.close(handle, mode)
        made.until(handle, CLOSED)
        peer.settimeout(SOON)
        if kind == "tcp" and mode == RESET:
            with pytest.raises(ConnectionResetError):
                peer.recv(1)
        else:
            assert peer.recv(1) == b""
    finally:
        os.close(other)


def test_closing_a_listener_leaves_it_to_others(made: Rig) -> None:
    """A successor may have it: it is not shut down."""
    handle, address = made.listen()
    with socket.socket(fileno=os.dup(made.fds[handle])) as other:
        other.settimeout(SOON)
        made.turn()
        made.backend.close(handle, NOW)
        made.until(handle, CLOSED)
        made.client(address)
        accepted, _ = other.accept()
        accepted.close()


def test_a_listener_that_is_refused_rests(
    backend_name: str, made: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A security module may say EPERM for ever: the backend does not ask again by itself."""
    if backend_name.startswith("io_uring"):
        return  # see core_faults.py: what the kernel says is changed there
    handle, address = made.listen()
    made.turn()
    slot = made.backend.state.slots[handle]  # type: ignore[attr-defined]
    real, refused = slot.sock, []

    class Refusing:
        def __getattr__(self, name: str) -> object:
            return getattr(real, name)

        def accept(self) -> object:
            refused.append(1)
            raise PermissionError(errno.EPERM, "refused")

    slot.sock = Refusing()
    made.client(address)
    assert made.until(handle, STALLED) == (-errno.EPERM, 0)
    made.settle()
    assert len(refused) == 1
    slot.sock = real
    made.backend.resume(handle)
    os.close(made.until(handle, ACCEPTED)[0])


def test_linger_of_the_caller_is_no_reset(made: Rig) -> None:
    handle, peer = made.pair()
    with socket.socket(fileno=os.dup(made.fds[handle])) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
    made.backend.send(handle, b"all of it")
    made.backend.notify(handle)
    made.until(handle, DRAINED)
    made.backend.close(handle, NOW)
    assert made.read_to_end(peer) == b"all of it"
