"""What is sent on io_uring without a copy: kept as long as the kernel reads it, and no longer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from contract_tools import Rig, close_all, pattern, rig
from engine_tools import receive
from ringnet.completion import INDEX_MASK
from ringnet.uring import outbox


@pytest.fixture(params=["in place", "copied"])
def made(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    """In place is CPython's way; copied is the way of an interpreter without fixed addresses."""
    if request.param == "copied":
        monkeypatch.setattr(outbox, "_LAYOUT", None)
        monkeypatch.setattr(outbox, "_WHERE", outbox._COPIED.packed())
    with rig("io_uring") as made:
        yield made


def pins(made: Rig) -> dict[int, list[Any]]:
    return made.backend._outbox.pins  # type: ignore[attr-defined]


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="its objects move")
def test_this_interpreter_needs_no_copy() -> None:
    assert outbox._LAYOUT is not None


def test_small_pieces_of_many(made: Rig) -> None:
    """More than packers are kept for."""
    pairs = [made.pair() for _ in range(300)]
    for number, (handle, _) in enumerate(pairs):
        made.backend.send(handle, b"%05d" % number)
    made.turn()
    for number, (_, peer) in enumerate(pairs):
        assert receive(peer, 5) == b"%05d" % number
    assert not pins(made)


def test_what_the_socket_does_not_take_is_kept_until_it_has_left(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=8192, rcvbuf=8192)
    data = pattern(3_000_000)
    made.backend.send(handle, data)
    made.turn()
    assert len(pins(made)) == 1
    del data
    got = b""
    while len(got) < 3_000_000:
        made.turn()
        try:
            got += peer.recv(1 << 20)
        except BlockingIOError:
            continue
        peer.setblocking(False)
    assert got == pattern(3_000_000)
    made.pump(lambda: not pins(made))
    assert made.backend.sent[handle & INDEX_MASK] == 3_000_000


def test_a_little_that_is_left_is_copied(made: Rig) -> None:
    """So that one byte does not keep a whole turn's objects."""
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    total = 0
    while not made.staged(handle):
        made.backend.send(handle, bytes([total % 251]) * 4000)
        total += 4000
        made.turn()
    assert not pins(made)
    peer.settimeout(0.05)
    got = b""
    while len(got) < total:
        made.turn()
        try:
            got += peer.recv(1 << 20)
        except TimeoutError:
            continue
    assert got == b"".join(bytes([n % 251]) * 4000 for n in range(0, total, 4000))


def test_a_close_lets_go_of_what_was_not_sent(made: Rig) -> None:
    handle, _ = made.pair(sndbuf=8192, rcvbuf=8192)
    made.backend.send(handle, bytes(3_000_000))
    made.turn()
    assert pins(made)
    close_all(made, [handle])
    assert not pins(made)


def test_only_bytes_have_an_address_that_stays(made: Rig) -> None:
    handle, _ = made.pair()
    made.turn()
    with pytest.raises(TypeError, match="bytearray"):
        made.backend.send(handle, bytearray(5))  # type: ignore[arg-type]


def test_large_pieces_wait_where_they_are(made: Rig) -> None:
    """Behind a send that is under way, in order among small ones; the same object twice is two."""
    handle, peer = made.pair(sndbuf=8192, rcvbuf=8192)
    large = pattern(300_000)
    sent = [large, b"a" * 100, large, large, b"b" * 20_000, pattern(70_000), b"c"]
    for piece in sent[:4]:
        made.backend.send(handle, piece)
    made.turn()
    for piece in sent[4:]:
        made.backend.send(handle, piece)
    made.turn()
    kept = sum(map(len, pins(made).values()))
    assert kept >= 4  # the flight, two more of the large object, and the 70,000 bytes
    data = b"".join(sent)
    assert made.exchange(peer, len(data)) == data
    made.pump(lambda: not pins(made))
    assert not made.staged(handle)


def test_a_close_lets_go_of_what_waits(made: Rig) -> None:
    handle, _ = made.pair(sndbuf=8192, rcvbuf=8192)
    for size in (300_000, 10, 300_000, 100_000):
        made.backend.send(handle, bytes(size))
    made.turn()
    assert len(pins(made)) >= 3
    close_all(made, [handle])
    assert not pins(made)
