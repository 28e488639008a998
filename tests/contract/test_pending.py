"""What has happened that no turn has told yet: rule 13 of the contract."""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import monotonic

import pytest
from contract_tools import SECONDS, Rig, pack4, reset
from ringnet.completion import (
    CLOSED,
    CONNECTED,
    DATA,
    EOF,
    ERROR,
    GRACEFUL,
    HUNG_UP,
    NOW,
    READABLE,
    SHUT,
    WRITABLE,
)


def test_nothing(made: Rig) -> None:
    handle, _ = made.pair()
    made.settle()
    assert not made.backend.pending(handle) & READABLE
    for unknown in (made.new_handle(), handle + (1 << 24), (1 << 24) + 65_000):
        assert made.backend.pending(unknown) == 0
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)
    assert made.backend.pending(handle) == 0


@pytest.mark.parametrize("what", ["bytes", "end", "reset"])
def test_what_the_peer_did_since_the_last_turn(made: Rig, what: str) -> None:
    """It is told of as long as no turn has, and asking changes nothing."""
    handle, peer = made.pair()
    made.settle()
    if what == "bytes":
        peer.sendall(b"x")
    elif what == "end":
        peer.shutdown(socket.SHUT_WR)
    else:
        reset(peer)
    for _ in range(3):
        made_known(made, lambda: made.backend.pending(handle) & READABLE)
    assert made.kinds(handle) == []
    made.until(handle, {"bytes": DATA, "end": EOF, "reset": ERROR}[what])
    if what == "bytes":
        made.settle()
        assert not made.backend.pending(handle) & READABLE
        assert made.received[handle] == b"x"


@pytest.mark.parametrize("what", ["end", "reset"])
def test_the_end_of_a_peer_whose_bytes_are_not_read(made: Rig, what: str) -> None:
    handle, peer = made.pair()
    made.backend.pause(handle)
    made.turn()
    peer.sendall(b"x" * 1000)
    made_known(made, lambda: made.backend.pending(handle) & READABLE)
    assert not made.backend.pending(handle) & HUNG_UP
    if what == "end":
        peer.shutdown(socket.SHUT_WR)
    else:
        reset(peer)
    made_known(made, lambda: made.backend.pending(handle) & HUNG_UP)
    made.settle()
    assert made.kinds(handle) == []
    made.backend.resume(handle)
    made.until(handle, EOF if what == "end" else ERROR)
    assert made.received[handle] == b"x" * 1000


def made_known(made: Rig, holds: Callable[[], object]) -> None:
    """Without a turn: the loopback takes no time, or next to none."""
    deadline = monotonic() + SECONDS
    while not holds():
        assert monotonic() < deadline


@pytest.mark.parametrize("bounds", [{"events": 2}, {"receive_buffers": 1}])
def test_those_left_out_of_a_turn(make_rig: Callable[..., Rig], bounds: dict[str, int]) -> None:
    """Whoever has sent and was told of by no turn is known, whatever the turns had no room for."""
    made = make_rig(receive_buffer_size=64, **bounds)
    pairs = [made.pair() for _ in range(30)]
    made.settle()
    for _, peer in pairs:
        peer.sendall(b"x" * 200)
    for _ in range(200):
        for handle, _ in pairs:
            if len(made.received[handle]) < 200:
                assert made.backend.pending(handle) & READABLE
        made.turn()
    made.pump(lambda: all(len(made.received[handle]) == 200 for handle, _ in pairs))


def test_room_for_what_waits(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=16_384, rcvbuf=16_384)
    made.clog(handle, 1 << 20)
    # On faults a send that finds no room may have found some, and goes on.
    made.pump(lambda: not made.backend.pending(handle) & WRITABLE)
    peer.setblocking(False)
    made_known(made, lambda: takes(peer) and made.backend.pending(handle) & WRITABLE)
    before = made.backend.sent[handle & 0xFFFFFF]
    made.pump(lambda: made.backend.sent[handle & 0xFFFFFF] > before)


def takes(peer: socket.socket) -> bool:
    try:
        while peer.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
    return True


def test_a_connection_that_is_there(made: Rig) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handle = made.connect(socket.AF_INET, pack4(listener.getsockname()))
        made.backend.turn(0)
        if not made.has(handle, CONNECTED):
            made_known(made, lambda: made.backend.pending(handle) & WRITABLE)


def test_one_that_lingers(made: Rig) -> None:
    handle, peer = made.pair()
    made.settle()
    made.backend.close(handle, GRACEFUL)
    made.until(handle, SHUT)
    assert not made.backend.pending(handle) & READABLE
    peer.shutdown(socket.SHUT_WR)
    made_known(made, lambda: made.backend.pending(handle) & READABLE)
    made.until(handle, CLOSED)
    assert made.backend.pending(handle) == 0
