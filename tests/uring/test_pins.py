"""Bytes that io_uring refers to: how much comes and goes in one turn is not bounded by a table."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from contract_tools import OLDER_RINGS, Rig, pattern, rig
from engine_tools import WAIT
from places import TOOLS
from ringnet.completion import CLOSED, EOF, NOW, REFERRED_FROM, RESET, Bounds

SLOTS = 16
PIECE = bytes(REFERRED_FROM)


@pytest.fixture(params=["io_uring", *OLDER_RINGS])
def made(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig(request.param, Bounds(slots=SLOTS)) as made:
        yield made


def pins(made: Rig) -> dict[int, list[Any]]:
    return made.backend._outbox.pins  # type: ignore[attr-defined]


def half_closed(made: Rig, count: int) -> list[int]:
    """Streams whose peers have ended their sides: a close ends them in the commands of a turn."""
    handles = []
    for _ in range(count):
        handle, peer = made.pair()
        peer.shutdown(1)
        made.until(handle, EOF)
        handles.append(handle)
    return handles


@pytest.mark.parametrize("mode", [NOW, RESET])
@pytest.mark.parametrize("pieces", [2, SLOTS, SLOTS + 1, 3 * SLOTS])
def test_many_pieces_of_streams_that_end_in_the_same_turn(
    made: Rig, pieces: int, mode: int
) -> None:
    handles = half_closed(made, 8)
    for handle in handles:
        for _ in range(pieces):
            made.backend.send(handle, PIECE)
        made.backend.close(handle, mode)
    made.pump(lambda: all(made.has(handle, CLOSED) for handle in handles))
    for handle in handles:
        assert made.of(handle)[-1] == (CLOSED, pieces * len(PIECE), 0)
    assert not pins(made)
    handle, peer = made.pair()
    made.backend.send(handle, pattern(100_000))
    assert made.exchange(peer, 100_000) == pattern(100_000)


def test_pieces_that_came_and_went_in_one_turn_are_not_kept(made: Rig) -> None:
    """Of one stream that stays and of others that end, in one turn."""
    stays, peer = made.pair(sndbuf=8192, rcvbuf=8192)
    others = half_closed(made, 5)
    data = [pattern(REFERRED_FROM + n) for n in range(8)]
    for piece in data:
        made.backend.send(stays, piece)
        for handle in others:
            made.backend.send(handle, PIECE)
    for handle in others:
        made.backend.close(handle, NOW)
    made.turn()
    kept = [piece for same in pins(made).values() for piece in same]
    assert kept, "the socket takes less"
    assert all(any(piece is mine for mine in data) for piece in kept)
    assert made.exchange(peer, sum(map(len, data))) == b"".join(data)
    made.pump(lambda: not pins(made))


def test_turn_after_turn_of_pieces_to_peers_that_do_not_read(made: Rig) -> None:
    """Some wait from earlier turns, some are new, and some streams end: all at the bound."""
    for _ in range(20):
        streams = [made.pair(sndbuf=4096, rcvbuf=4096)[0] for _ in range(6)]
        for _ in range(3):
            for handle in streams:
                made.backend.send(handle, PIECE)
                made.backend.send(handle, PIECE)
            made.turn()
        for handle in streams:
            made.backend.send(handle, PIECE)
            made.backend.close(handle, NOW)
        made.pump(lambda: all(made.has(handle, CLOSED) for handle in streams))  # noqa: B023
        assert not pins(made)


PROGRAM = """
from contract_tools import Rig
from ringnet.completion import CLOSED, EOF, NOW
made = Rig("io_uring")
piece = bytes(65_536)
handles = []
for _ in range(3):
    handle, peer = made.pair()
    peer.shutdown(1)
    made.until(handle, EOF)
    handles.append(handle)
for handle in handles:
    for _ in range(made.bounds.slots + 1):
        made.backend.send(handle, piece)
    made.backend.close(handle, NOW)
made.pump(lambda: all(made.has(handle, CLOSED) for handle in handles))
assert not made.backend._outbox.pins
made.end()
print("right")
"""


def test_as_many_pieces_as_there_are_handles_for_each_of_three() -> None:
    """With the default bounds, where writing beyond a table is a crash."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=TOOLS,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr
