"""The contract: what a turn has no room for, and closes that make room (rules 3, 4 and 9)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from contract_tools import STEP, Rig, count_descriptors, pack_unix, pattern
from ringnet.completion import ACCEPTED, CLOSED, CONNECTED, DATA, DRAINED, GRACEFUL, NOW

COUNT = 8


@contextmanager
def at_once_connected(made: Rig, path: bytes) -> Iterator[tuple[list[int], list[socket.socket]]]:
    """Handles that all connect in one turn, as only Unix sockets do, and their peers."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(COUNT)
        handles = [made.connect(socket.AF_UNIX, pack_unix(path)) for _ in range(COUNT)]
        listener.setblocking(False)
        made.turn(1.0)
        yield handles, [stack.enter_context(accepted(made, listener)) for _ in range(COUNT)]


def accepted(made: Rig, listener: socket.socket) -> socket.socket:
    """On faults the kernel may take a part of the requests in the next turn."""
    for _ in range(100):
        try:
            peer, _ = listener.accept()
        except BlockingIOError:
            made.turn(STEP)
        else:
            return peer
    raise AssertionError(made.tail())


@pytest.fixture
def path(tmp_path: object) -> bytes:
    return os.fsencode(f"{tmp_path}/s")


def test_a_close_in_its_room_lets_the_late_follow(
    make_rig: Callable[..., Rig], path: bytes
) -> None:
    """The turn after it has something to say, so it may not wait."""
    made = make_rig(events=2)
    with at_once_connected(made, path) as (handles, _):
        made.pump(lambda: len(made.said) >= 2)
        said = {handle for handle in handles if made.has(handle, CONNECTED)}
        for handle in [handle for handle in handles if handle not in said][:2]:
            made.backend.close(handle, NOW)
        assert made.turn(60.0)
        made.pump(lambda: all(made.of(handle) for handle in handles))


def test_bytes_come_after_a_connected_that_was_late(
    make_rig: Callable[..., Rig], path: bytes
) -> None:
    made = make_rig(events=2, receive_buffers=4)
    with at_once_connected(made, path) as (handles, peers):
        for peer in peers:
            peer.sendall(b"hi")
        closed = handles[2:4]
        for handle in closed:
            made.backend.close(handle, NOW)
        rest = [handle for handle in handles if handle not in closed]
        made.pump(lambda: all(made.received[handle] == b"hi" for handle in rest))
        for handle in rest:
            assert made.kinds(handle)[:2] == [CONNECTED, DATA]
        for handle in closed:
            made.until(handle, CLOSED)


def test_no_newcomer_is_lost_with_its_listener(make_rig: Callable[..., Rig], path: bytes) -> None:
    made = make_rig(events=2)
    listener, address = made.listen()
    made.turn()
    before = count_descriptors()
    with at_once_connected(made, path) as (handles, _):
        for _ in range(3):
            made.client(address)
        for handle in handles[2:5]:
            made.backend.close(handle, NOW)
        made.turn(STEP)
        made.turn(STEP)
        made.backend.close(listener, GRACEFUL)
        made.until(listener, CLOSED)
        for handle in handles:
            made.backend.close(handle, NOW)
        made.pump(lambda: all(made.has(handle, CLOSED) for handle in handles))
    for fd in made.accepted(listener):
        os.close(fd)
    assert made.kinds(listener) == [ACCEPTED] * len(made.accepted(listener)) + [CLOSED]
    for peer in made.peers:
        peer.close()
    made.peers.clear()
    assert count_descriptors() == before - 1  # the listener's


def test_writing_and_reading_in_one_turn_keep_the_bound(make_rig: Callable[..., Rig]) -> None:
    """`Rig.turn` looks at the bound: DRAINED takes the room that bytes would have had."""
    made = make_rig(events=1)
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    data = pattern(300_000)
    made.backend.send(handle, data)
    made.backend.notify(handle)
    peer.setblocking(False)
    got, sent = bytearray(), 0

    def both() -> bool:
        nonlocal sent
        try:
            got.extend(peer.recv(1 << 16))
        except BlockingIOError:
            pass
        if sent < 1000:
            sent += peer.send(b"y")
        drained = made.has(handle, DRAINED)
        return len(got) == len(data) and drained and len(made.received[handle]) == sent

    made.pump(both)
    assert bytes(got) == data
