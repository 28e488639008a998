"""The contract: the peer's end and its reset, which no backend may miss (rules 5 and 6)."""

from __future__ import annotations

import errno
import os
import random
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from contract_tools import Rig, pack_unix, pattern, reset, tcp_pair
from ringnet.completion import CLOSED, CONNECTED, DATA, EOF, ERROR, GRACEFUL, NOW, RESET, SHUT

ALL = [(DATA, 0, 0), (EOF, 0, 0)]
SO_TIMESTAMPING, TX_SOFTWARE, SOFTWARE = 37, 1 << 1, 1 << 4
SIZES = pytest.mark.parametrize("size", [512, 4_096, 262_144])
Pair = Callable[[], tuple[socket.socket, socket.socket]]


@pytest.fixture(params=["unix", "tcp"])
def make_pair(request: pytest.FixtureRequest) -> Pair:
    """Makes our end and the peer's."""
    return socket.socketpair if request.param == "unix" else tcp_pair


def connection(made: Rig, make_pair: Pair) -> tuple[int, socket.socket]:
    ours, peer = make_pair()
    peer.settimeout(10)
    made.peers.append(peer)
    return made.adopt(ours), peer


def test_bytes_and_the_end_that_were_there_before(made: Rig, make_pair: Pair) -> None:
    ours, peer = make_pair()
    with peer:
        peer.sendall(b"all there is")
        peer.shutdown(socket.SHUT_WR)
        handle = made.adopt(ours)
        made.until(handle, EOF)
    assert made.received[handle] == b"all there is"
    assert made.of(handle) == ALL


def test_much_and_the_end_that_were_there_before(
    make_rig: Callable[..., Rig], make_pair: Pair
) -> None:
    """More than a kernel takes at one go, and fewer buffers than would end the receive."""
    made = make_rig(receive_buffers=256, receive_buffer_size=512)
    ours, peer = make_pair()
    with peer:
        peer.sendall(pattern(100_000))
        peer.shutdown(socket.SHUT_WR)
        handle = made.adopt(ours)
        made.until(handle, EOF)
    assert made.received[handle] == pattern(100_000)
    assert made.of(handle) == ALL


def test_much_and_a_reset_that_were_there_before(make_rig: Callable[..., Rig]) -> None:
    made = make_rig(receive_buffers=256, receive_buffer_size=512)
    ours, peer = tcp_pair()
    peer.sendall(pattern(100_000))
    reset(peer)
    handle = made.adopt(ours)
    assert made.until(handle, ERROR) == (-errno.ECONNRESET, 0)


def test_the_end_of_a_stream_that_was_connected(
    make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    made = make_rig(receive_buffers=256, receive_buffer_size=512)
    path = os.fsencode(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        handle = made.connect(socket.AF_UNIX, pack_unix(path))
        made.until(handle, CONNECTED)
        peer, _ = listener.accept()
    made.peers.append(peer)
    made.backend.pause(handle)
    made.settle()
    peer.sendall(pattern(100_000))
    peer.shutdown(socket.SHUT_WR)
    made.settle()
    made.backend.resume(handle)
    made.until(handle, EOF)
    assert made.received[handle] == pattern(100_000)


@pytest.mark.skipif(sys.platform != "linux", reason="timestamps of what was sent are Linux's")
def test_what_is_in_the_error_queue_is_no_end(
    make_rig: Callable[..., Rig], backend_name: str
) -> None:
    """See Documentation/networking/timestamping.rst: it stays there until somebody reads it."""
    made = make_rig(receive_buffers=256, receive_buffer_size=512)
    before = workers()
    ours, peer = tcp_pair()
    made.peers.append(peer)
    ours.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, TX_SOFTWARE | SOFTWARE)
    handle = made.adopt(ours)
    for _ in range(5):
        made.backend.send(handle, b"x")
        made.settle()
        peer.sendall(b"y" * 5_000)
    made.pump(lambda: len(made.received[handle]) == 25_000)
    if backend_name != "io_uring-5.19":  # whose single receives wait in a thread then
        assert workers() <= before
    peer.sendall(pattern(50_000))
    reset(peer)
    assert made.until(handle, ERROR) == (-errno.ECONNRESET, 0)


def workers() -> set[str]:
    """The kernel's threads for requests of io_uring that block. They stay a while."""
    tasks = Path("/proc/self/task").iterdir()
    return {task.name for task in tasks if "iou-wrk" in (task / "comm").read_text()}


@SIZES
def test_the_end_behind_what_came_while_reading_rested(
    make_rig: Callable[..., Rig], make_pair: Pair, size: int
) -> None:
    """The receive that begins then has more to do than a kernel does at one go."""
    made = make_rig(receive_buffers=256, receive_buffer_size=size)
    handle, peer = connection(made, make_pair)
    made.backend.pause(handle)
    made.settle()
    data = pattern(150_000)
    peer.sendall(data)
    peer.shutdown(socket.SHUT_WR)
    made.settle()
    made.backend.resume(handle)
    made.until(handle, EOF)
    assert made.received[handle] == data
    assert made.of(handle) == ALL


@SIZES
def test_the_reset_behind_what_came_while_reading_rested(
    make_rig: Callable[..., Rig], size: int
) -> None:
    """Of the bytes before a reset, the last may be lost."""
    made = make_rig(receive_buffers=256, receive_buffer_size=size)
    handle, peer = made.pair()
    made.backend.pause(handle)
    made.settle()
    peer.sendall(pattern(150_000))
    reset(peer)
    made.settle()
    made.backend.resume(handle)
    assert made.until(handle, ERROR) == (-errno.ECONNRESET, 0)
    assert pattern(150_000).startswith(made.received[handle])


def test_the_end_where_buffers_are_few(make_rig: Callable[..., Rig], make_pair: Pair) -> None:
    made = make_rig(receive_buffers=1, receive_buffer_size=512)
    pairs = [connection(made, make_pair) for _ in range(10)]
    for _, peer in pairs:
        peer.sendall(pattern(50_000))
        peer.shutdown(socket.SHUT_WR)
    for handle, _ in pairs:
        made.until(handle, EOF)
        assert made.received[handle] == pattern(50_000)
        assert made.of(handle) == ALL


def test_the_end_whenever_it_comes(made: Rig, make_pair: Pair) -> None:
    """A peer on another thread: before the receive is made, meanwhile, and after."""
    chance = random.Random(11)
    for _ in range(100):
        ours, peer = make_pair()
        begins = threading.Event()

        def talk(peer: socket.socket, begins: threading.Event, spin: int) -> None:
            with peer:
                begins.wait(10)
                for _ in range(spin):
                    pass
                peer.sendall(b"request")
                peer.shutdown(socket.SHUT_WR)
                peer.recv(1)  # until we close

        thread = threading.Thread(target=talk, args=(peer, begins, chance.randrange(3_000)))
        thread.start()
        begins.set()
        handle = made.adopt(ours)
        made.until(handle, EOF)
        made.backend.close(handle, NOW)
        made.until(handle, CLOSED)
        thread.join(10)
        assert made.received[handle] == b"request"
        assert made.of(handle) == [*ALL, (CLOSED, 0, 0)]


def test_the_end_of_a_peer_that_is_gone(made: Rig, make_pair: Pair) -> None:
    handle, peer = connection(made, make_pair)
    peer.sendall(b"farewell")
    peer.close()
    made.until(handle, EOF)
    assert made.received[handle] == b"farewell"
    assert made.of(handle) == ALL


def test_our_end_first_then_the_peers(made: Rig, make_pair: Pair) -> None:
    handle, peer = connection(made, make_pair)
    made.backend.send(handle, b"question")
    made.backend.shutdown(handle)
    assert made.read_to_end(peer) == b"question"
    made.until(handle, SHUT)
    peer.setblocking(True)
    peer.sendall(b"answer")
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    assert made.of(handle) == [(SHUT, 0, 0), *ALL]


def test_a_graceful_close_waits_for_the_peers_end(
    make_rig: Callable[..., Rig], make_pair: Pair
) -> None:
    made = make_rig(receive_buffers=256, receive_buffer_size=512)
    handle, peer = connection(made, make_pair)
    made.backend.pause(handle)
    made.backend.send(handle, b"reply")
    made.settle()
    peer.sendall(pattern(150_000))
    made.backend.close(handle, GRACEFUL)
    assert made.read_to_end(peer) == b"reply"
    made.until(handle, SHUT)
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, CLOSED)
    assert made.of(handle) == [(SHUT, 0, 0), (CLOSED, 0, 0)]


@pytest.mark.parametrize("mode", [GRACEFUL, NOW, RESET])
def test_places_are_free_again_after_a_close(
    make_rig: Callable[..., Rig], make_pair: Pair, mode: int
) -> None:
    made = make_rig(slots=8)
    for _ in range(5):
        pairs = [connection(made, make_pair) for _ in range(8)]
        made.turn()
        for handle, peer in pairs:
            made.backend.close(handle, mode)
            with suppress(OSError):  # RESET may have been faster
                peer.shutdown(socket.SHUT_WR)
        for handle, _ in pairs:
            made.until(handle, CLOSED)
            assert made.kinds(handle).count(CLOSED) == 1
