"""The contract: more streams have something to tell than a queue of completions holds.

What a kernel has no place for it tells later, or ends the request; neither may make a backend go
round, nor put off what others are owed.
"""

from __future__ import annotations

import resource
import socket
from collections.abc import Callable, Iterator
from time import process_time, thread_time

import pytest
from contract_tools import PATIENCE, Rig, backend_names
from ringnet.completion import DATA, DRAINED, EOF, NOW, WRITABLE

Crowd = Callable[..., tuple[Rig, list[socket.socket]]]
MANY = 4_500  # the queue of io_uring has 4,096 places
ANSWER = b"it was asked for"


@pytest.fixture
def room() -> Iterator[None]:
    """Descriptors for all of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = 2 * MANY + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), max(hard, enough)))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture(params=[name for name in backend_names() if name != "select"])
def backend_name(request: pytest.FixtureRequest) -> str:
    """All but the one that watches 1,024 descriptors at most."""
    name: str = request.param
    return name


@pytest.fixture
def make_crowd(room: None, make_rig: Callable[..., Rig]) -> Crowd:
    def make(**bounds: int) -> tuple[Rig, list[socket.socket]]:
        made = make_rig(slots=MANY + 10, **bounds)
        pairs = [socket.socketpair() for _ in range(MANY)]
        made.peers += [peer for _, peer in pairs]
        return made, [ours for ours, _ in pairs]

    return make


def adopt_all(made: Rig, sockets: list[socket.socket]) -> list[int]:
    handles = []
    for sock in sockets:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
        handles.append(made.adopt(sock))
        if len(handles) % 256 == 0:
            made.turn()
    return handles


def end_all(made: Rig) -> None:
    for peer in made.peers:
        peer.shutdown(socket.SHUT_WR)
    made.pump(lambda: sum(kind == EOF for _, kind, _, _ in made.said) == MANY)
    made.settle()


def check_that_it_rests(made: Rig) -> None:
    before = process_time()
    for _ in range(20):
        assert made.turn(0.05) == []
    assert process_time() - before < 0.5


def check_that_it_serves(made: Rig) -> None:
    handle, peer = made.pair()
    made.backend.send(handle, ANSWER)
    made.backend.notify(handle)
    made.until(handle, DRAINED)
    assert made.exchange(peer, len(ANSWER)) == ANSWER


def test_peers_that_have_ended(make_crowd: Crowd) -> None:
    made, sockets = make_crowd()
    adopt_all(made, sockets)
    end_all(made)
    check_that_it_rests(made)
    check_that_it_serves(made)


def test_peers_that_have_ended_and_do_not_read(make_crowd: Crowd) -> None:
    made, sockets = make_crowd()
    handles = adopt_all(made, sockets)
    for i, handle in enumerate(handles):
        made.backend.send(handle, bytes(20_000))
        if i % 256 == 0:
            made.turn()
    end_all(made)
    check_that_it_rests(made)
    check_that_it_serves(made)
    made.backend.notify(handles[0])
    assert made.exchange(made.peers[0], 20_000) == bytes(20_000)
    made.until(handles[0], DRAINED)


def test_polls_for_what_never_is(make_crowd: Crowd) -> None:
    """The kernel tells of the end, which nobody asked for."""
    made, sockets = make_crowd()
    ready = []
    for i, (sock, peer) in enumerate(zip(sockets, made.peers, strict=True)):
        sock.setblocking(False)
        while True:
            try:
                sock.send(bytes(65_536))
            except BlockingIOError:
                break
        peer.shutdown(socket.SHUT_WR)
        ready.append(made.new_handle())
        made.backend.poll(ready[-1], sock.fileno(), WRITABLE)
        if i % 256 == 0:
            assert made.turn() == []
    made.settle()
    check_that_it_rests(made)
    check_that_it_serves(made)
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize("events", [4, 64])
def test_peers_that_always_have_something_for_us(make_crowd: Crowd, events: int) -> None:
    """The queue stays too small for as long as they have."""
    made, sockets = make_crowd(events=events, receive_buffers=8_192, receive_buffer_size=64)
    for peer in made.peers:
        peer.sendall(bytes(30_000))
    adopt_all(made, sockets)
    made.pump(lambda: sum(kind == DATA for _, kind, _, _ in made.said) >= 200)
    before = thread_time()
    for _ in range(200):
        made.turn()
    assert thread_time() - before < 0.5 * PATIENCE, "a turn looks at those whom it serves"
    check_that_it_serves(made)


def seconds_to_close(made: Rig, sockets: list[socket.socket], step: int) -> float:
    """Of those who wait for a buffer, in one turn: in their order (1), or from behind (-1)."""
    for peer in made.peers:
        peer.sendall(bytes(4_000))
    handles = adopt_all(made, sockets)
    for _ in range(300):
        made.turn()
    for handle in handles[::step]:
        made.backend.close(handle, NOW)
    before = thread_time()
    made.turn()
    return thread_time() - before


@pytest.mark.parametrize(
    "backend_name", [name for name in backend_names() if name.startswith("io_uring")]
)
def test_who_waits_for_a_buffer_leaves_its_line_at_once(make_crowd: Crowd) -> None:
    """Wherever it stands: nobody looks for it from an end of the line."""
    bounds = {"events": 64, "receive_buffers": 1, "receive_buffer_size": 64}
    best = {1: 60.0, -1: 60.0}
    for _ in range(3):
        for step in best:
            made, sockets = make_crowd(**bounds)
            best[step] = min(best[step], seconds_to_close(made, sockets, step))
            made.end()
    assert max(best.values()) < 2 * min(best.values())
