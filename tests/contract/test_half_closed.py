"""The contract: peers that have ended their side, and do not read (rules 3, 5 and 6).

They cost no thread of the kernel and no spinning, and no close of theirs is missed.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from pathlib import Path
from time import process_time

import pytest
from contract_tools import Rig, pack_unix, pattern, reset, tcp_pair
from ringnet.completion import (
    CLOSED,
    CONNECTED,
    DRAINED,
    EOF,
    ERROR,
    GRACEFUL,
    NOW,
    READABLE,
    READY,
    RESET,
    WRITABLE,
)

Pair = Callable[[], tuple[socket.socket, socket.socket]]
HARD = pytest.mark.parametrize("mode", [NOW, RESET])
TURNS = pytest.mark.parametrize("turns", [0, 1, 2, 5])


@pytest.fixture(params=["unix", "tcp"])
def make_pair(request: pytest.FixtureRequest) -> Pair:
    """Makes our end and the peer's, whose sockets take little."""

    def make() -> tuple[socket.socket, socket.socket]:
        ours, peer = tcp_pair(16_384, 8_192) if request.param == "tcp" else socket.socketpair()
        if request.param == "unix":
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
        return ours, peer

    return make


def workers() -> set[str]:
    """The kernel's threads for requests of io_uring that block. They stay a while."""
    tasks = Path("/proc/self/task").iterdir()
    return {task.name for task in tasks if "iou-wrk" in (task / "comm").read_text()}


def clogged(made: Rig, make_pair: Pair, size: int = 1_000_000) -> tuple[int, socket.socket, bytes]:
    """A stream of which a send waits for a peer that does not read."""
    ours, peer = make_pair()
    peer.settimeout(10)
    made.peers.append(peer)
    handle = made.adopt(ours)
    return handle, peer, made.clog(handle, size)


@HARD
@TURNS
def test_a_hard_close_after_the_peers_end(
    made: Rig, make_pair: Pair, mode: int, turns: int
) -> None:
    """Some turns after the end: while its wake-up is on its way, and after."""
    handles = []
    for _ in range(5):
        handle, peer, _ = clogged(made, make_pair)
        handles.append((handle, peer))
    for handle, peer in handles:
        peer.shutdown(socket.SHUT_WR)
        for _ in range(turns):
            made.turn()
        made.backend.close(handle, mode)
    for handle, _ in handles:
        lost, _ = made.until(handle, CLOSED)
        assert lost > 0
        assert made.kinds(handle)[-1] == CLOSED


@HARD
def test_a_hard_close_once_the_end_is_told(made: Rig, make_pair: Pair, mode: int) -> None:
    for _ in range(10):
        handle, peer, _ = clogged(made, make_pair)
        peer.shutdown(socket.SHUT_WR)
        made.until(handle, EOF)
        made.backend.close(handle, mode)
        made.until(handle, CLOSED)
        assert made.kinds(handle) == [EOF, CLOSED]


def test_many_who_end_and_do_not_read_take_no_threads(made: Rig, make_pair: Pair) -> None:
    before = workers()
    handles = [clogged(made, make_pair, 300_000) for _ in range(20)]
    for _, peer, _ in handles:
        peer.shutdown(socket.SHUT_WR)
    for handle, _, _ in handles:
        made.until(handle, EOF)
    made.settle()
    assert workers() <= before
    for handle, peer, data in handles:
        assert made.exchange(peer, len(data)) == data
        made.backend.notify(handle)
        made.until(handle, DRAINED)
    assert workers() <= before


def test_what_is_owed_leaves_as_the_peer_reads(made: Rig, make_pair: Pair) -> None:
    """Also what is sent after its end, in pieces that each find the socket full."""
    handle, peer, data = clogged(made, make_pair)
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    for _ in range(5):
        made.backend.send(handle, data)
        made.turn()
    before = made.backend.sent[handle & 0xFFFFFF]
    assert made.exchange(peer, 600_000) == data[:600_000]
    assert made.backend.sent[handle & 0xFFFFFF] > before
    made.backend.close(handle, GRACEFUL)
    assert made.read_to_end(peer) == data[600_000:] + 5 * data
    made.until(handle, CLOSED)


def test_a_turn_sleeps_while_nobody_reads(made: Rig, make_pair: Pair) -> None:
    """Turns that return at once, one after the other, would keep a CPU busy."""
    handle, peer, _ = clogged(made, make_pair)
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    made.settle()
    before = process_time()
    for _ in range(10):
        assert made.turn(0.05) == []
    assert process_time() - before < 0.25


def test_a_poll_for_room_is_not_told_of_the_end(made: Rig, make_pair: Pair) -> None:
    """Callers would poll again at once, and go round."""
    ours, peer = make_pair()
    made.peers.append(peer)
    with ours:
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                ours.send(pattern(100_000))
        peer.shutdown(socket.SHUT_WR)
        handle = made.new_handle()
        made.backend.poll(handle, ours.fileno(), WRITABLE)
        made.settle()
        assert made.of(handle) == []
        peer.setblocking(False)

        def told() -> bool:
            with pytest.raises(BlockingIOError):
                while True:
                    peer.recv(1 << 16)
            return made.has(handle, READY)

        made.pump(told)
        assert made.of(handle) == [(READY, WRITABLE, 0)]


def test_a_poll_says_what_was_asked_for(made: Rig, make_pair: Pair) -> None:
    ours, peer = make_pair()
    made.peers.append(peer)
    with ours:
        peer.shutdown(socket.SHUT_WR)
        handle = made.new_handle()
        made.backend.poll(handle, ours.fileno(), READABLE | WRITABLE)
        mask, _ = made.until(handle, READY)
        assert mask in (READABLE, READABLE | WRITABLE)  # kqueue tells one at a time


def test_a_poll_that_goes_on_can_be_closed(made: Rig, make_pair: Pair) -> None:
    ours, peer = make_pair()
    made.peers.append(peer)
    with ours:
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            while True:
                ours.send(pattern(100_000))
        peer.shutdown(socket.SHUT_WR)
        for turns in range(4):
            handle = made.new_handle()
            made.backend.poll(handle, ours.fileno(), WRITABLE)
            for _ in range(turns):
                made.turn()
            made.backend.close(handle, NOW)
            made.until(handle, CLOSED)
            assert made.kinds(handle) == [CLOSED]


@TURNS
def test_a_connect_that_waits_can_be_closed(made: Rig, tmp_path: Path, turns: int) -> None:
    """A Unix listener with a full backlog; where the backend says so instead, that is an error."""
    path = bytes(tmp_path / "full")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        handles = [made.connect(socket.AF_UNIX, pack_unix(path)) for _ in range(4)]
        for _ in range(turns):
            made.turn()
        for handle in handles:
            made.backend.close(handle, NOW)
        for handle in handles:
            made.until(handle, CLOSED)
            assert set(made.kinds(handle)) <= {CONNECTED, ERROR, CLOSED}


@HARD
@TURNS
def test_a_connect_that_hangs_can_be_closed(made: Rig, mode: int, turns: int) -> None:
    """TCP whose listener takes nobody any more: its queue is full, and SYNs are dropped."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        packed = socket.AF_INET.to_bytes(2, "little") + port.to_bytes(2, "big")
        packed += socket.inet_aton("127.0.0.1") + bytes(8)
        handles = [made.connect(socket.AF_INET, packed) for _ in range(4)]
        for _ in range(turns):
            made.turn()
        for handle in handles:
            made.backend.close(handle, mode)
        for handle in handles:
            made.until(handle, CLOSED)
            assert ERROR not in made.kinds(handle)


def test_the_peers_reset_while_a_send_waits_after_its_end(made: Rig) -> None:
    handle, peer, _ = clogged(made, lambda: tcp_pair(16_384, 8_192))
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    reset(peer)
    number, _ = made.until(handle, ERROR)
    assert -number in (errno.ECONNRESET, errno.EPIPE)
