"""Edge-triggered input, as an option; the contract suite runs with edges as well."""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from typing import Any

import pytest
import ringnet
from contract_tools import rig
from engine_tools import WAIT, Recorder, dial, receive, send_all_aside
from ringnet.completion import DATA, Bounds


@pytest.mark.parametrize("backend", ["epoll", "kqueue"])
@pytest.mark.parametrize("chunk", [1000, 1 << 20])
@pytest.mark.parametrize("size", [1, 100_000, 5_000_000])
def test_edge_triggered(backend: str, chunk: int, size: int) -> None:
    """The contract suite runs with edges as well; this is the option, through the engine."""
    options = {"backend": backend, "edge_triggered": True, "edge_triggered_chunk": chunk}
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine, ExitStack() as stack:
        clients = [stack.enter_context(dial(engine)) for _ in range(3)]
        data = os.urandom(size)
        senders = [send_all_aside(client, data) for client in clients]
        for client in clients:
            assert receive(client, size) == data
        for sender in senders:
            sender.join()


@pytest.mark.parametrize("backend", ["io_uring", "select"])
def test_edge_triggered_changes_nothing_elsewhere(backend: str) -> None:
    options = {"backend": backend, "edge_triggered": True}
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"x")
        assert receive(client, 1) == b"x"


@pytest.mark.parametrize("poller", ["epoll", "kqueue"])
def test_a_fast_sender_gets_its_chunk_a_turn_and_the_others_theirs(poller: str) -> None:
    """The bound is seen at a whole receive buffer: so much may be read beyond it."""
    buffer, chunk = 1000, 40_000
    with rig(
        f"{poller}-edge", Bounds(receive_buffers=256, receive_buffer_size=buffer, edge_chunk=chunk)
    ) as made:
        fast, peer = made.pair()
        slow, other = made.pair()
        peer.sendall(bytes(200_000))  # is there before the first turn
        other.sendall(b"me too")
        turns = [made.turn(WAIT) for _ in range(3)]
        sizes = [sum(b for h, kind, _, b in t if (h, kind) == (fast, DATA)) for t in turns]
        assert chunk <= sizes[0] < chunk + buffer
        assert all(size < chunk + buffer for size in sizes)
        assert any(h == slow and kind == DATA for h, kind, *_ in turns[0])


@pytest.mark.parametrize("name", ["epoll", "epoll-edge", "kqueue", "kqueue-edge"])
def test_an_interface_that_is_busy_is_tried_again(name: str) -> None:
    """ENOBUFS leaves room in the socket, so that no change follows it."""
    with rig(name) as made:
        handle, peer = made.pair()
        made.settle()
        slot = made.backend.state.slots[handle]  # type: ignore[attr-defined]
        slot.sock = Busy(slot.sock)
        made.backend.send(handle, b"hello")
        assert made.exchange(peer, 5) == b"hello"
        assert made.staged(handle) == 0


class Busy:
    """A socket whose first two sends find the interface busy."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._left = 2

    def send(self, data: bytes, flags: int) -> int:
        if self._left:
            self._left -= 1
            raise OSError(errno.ENOBUFS, "the interface is busy")
        return self._sock.send(data, flags)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


def test_a_chunk_alone_turns_edges_on() -> None:
    """As in gnet: WithEdgeTriggeredIOChunk implies WithEdgeTriggeredIO."""
    assert not ringnet.Engine(Recorder(), "tcp://:0").options.edge_triggered
    engine = ringnet.Engine(Recorder(), "tcp://:0", edge_triggered_chunk=5000)
    assert engine.options.bounds().edge_chunk == 5000
    off = {"edge_triggered": False, "edge_triggered_chunk": 5000}
    assert ringnet.Engine(Recorder(), "tcp://:0", **off).options.bounds().edge_chunk == 0
