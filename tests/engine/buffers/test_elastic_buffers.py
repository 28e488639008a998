"""The elastic buffers are like plain bytes, and give their memory back."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, USES_MALLOC, WAIT, receive, until
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from places import TOOLS
from ringnet.engine.buffers.buffer import Buffer

PIECES = st.one_of(st.binary(max_size=50), st.binary(min_size=500, max_size=3000))
COUNTS = st.integers(0, 4000)


class LikeBytes(RuleBasedStateMachine):
    """A buffer and its model: plain bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = self.make()
        self.model = b""
        self.given: list[tuple[bytes, bytes]] = []  # what was handed out, and what it was

    def make(self) -> Buffer:
        return ringnet.RingBuffer()

    def hand_out(self, data: bytes, expected: bytes) -> None:
        assert type(data) is bytes
        assert data == expected
        self.given.append((data, expected))

    @rule(data=PIECES)
    def write(self, data: bytes) -> None:
        if self.buffer.limit is not None and len(self.model) + len(data) > self.buffer.limit:
            with pytest.raises(ringnet.BufferLimitExceeded):
                self.buffer.write(data)
            return
        assert self.buffer.write(data) == len(data)
        self.model += data

    @rule(data=PIECES)
    def write_what_changes_afterwards(self, data: bytes) -> None:
        if self.buffer.limit is not None:
            return
        self.buffer.write(changing := bytearray(data))  # type: ignore[arg-type]
        changing[:] = bytes(len(changing))
        self.model += data

    @rule(n=COUNTS)
    def next(self, n: int) -> None:
        if n > len(self.model):
            with pytest.raises(ringnet.ShortBuffer):
                self.buffer.next(n)
            return
        self.hand_out(self.buffer.next(n), self.model[:n])
        self.model = self.model[n:]

    @rule(n=COUNTS)
    def peek(self, n: int) -> None:
        if n > len(self.model):
            with pytest.raises(ringnet.ShortBuffer):
                self.buffer.peek(n)
            return
        self.hand_out(self.buffer.peek(n), self.model[:n])

    @rule(n=COUNTS)
    def discard(self, n: int) -> None:
        if n > len(self.model):
            with pytest.raises(ringnet.ShortBuffer):
                self.buffer.discard(n)
            return
        assert self.buffer.discard(n) == n
        self.model = self.model[n:]

    @rule(n=COUNTS)
    def read(self, n: int) -> None:
        self.hand_out(self.buffer.read(n), self.model[:n])
        self.model = self.model[n:]

    @rule(n=COUNTS)
    def readinto(self, n: int) -> None:
        room = bytearray(n)
        count = self.buffer.readinto(room)
        assert room[:count] == self.model[:n]
        self.model = self.model[count:]

    @rule()
    def everything(self) -> None:
        assert self.buffer.peek() == self.model
        file = io.BytesIO()
        assert self.buffer.write_to(file) == len(self.model)
        assert file.getvalue() == self.model
        self.model = b""

    @precondition(lambda self: self.buffer.limit is None)
    @rule(data=PIECES)
    def read_from(self, data: bytes) -> None:
        assert self.buffer.read_from(io.BytesIO(data)) == len(data)
        self.model += data

    @rule()
    def clear(self) -> None:
        self.buffer.clear()
        self.model = b""

    @rule()
    def wrong_counts(self) -> None:
        for call in (self.buffer.next, self.buffer.peek, self.buffer.discard):
            with pytest.raises(ValueError, match="0 or more"):
                call(-2)

    @invariant()
    def the_same(self) -> None:
        assert len(self.buffer) == len(self.model)
        assert bool(self.buffer) == bool(self.model)
        assert self.buffer.peek() == self.model
        assert all(data == expected for data, expected in self.given[-5:])


class Bounded(LikeBytes):
    def make(self) -> Buffer:
        return ringnet.RingBuffer(limit=5000)


class Linked(LikeBytes):
    def make(self) -> Buffer:
        return ringnet.LinkedBuffer()

    def linked(self) -> ringnet.LinkedBuffer:
        assert isinstance(self.buffer, ringnet.LinkedBuffer)
        return self.buffer

    @rule(data=PIECES)
    def write_front(self, data: bytes) -> None:
        assert self.linked().write_front(data) == len(data)
        self.model = data + self.model

    @rule(n=COUNTS)
    def peek_pieces(self, n: int) -> None:
        n = min(n, len(self.model))
        assert b"".join(self.linked().peek_pieces(n)) == self.model[:n]

    @rule(goal=st.integers(1, 4000))
    def take(self, goal: int) -> None:
        piece = self.linked().take(goal)
        assert bool(piece) == bool(self.model)
        assert self.model.startswith(piece)
        self.model = self.model[len(piece) :]


class Mixed(LikeBytes):
    def make(self) -> Buffer:
        return ringnet.MixedBuffer(ring_bytes=1000)


class MixedBounded(LikeBytes):
    def make(self) -> Buffer:
        return ringnet.MixedBuffer(ring_bytes=1000, limit=4000)


for machine in (LikeBytes, Bounded, Linked, Mixed, MixedBounded):
    case = machine.TestCase
    case.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
    globals()[f"Test{machine.__name__}"] = case


def test_a_ring_keeps_little_when_it_is_empty() -> None:
    ring = ringnet.RingBuffer()
    assert ring.capacity == 0
    ring.write(bytes(1 << 20))
    assert ring.capacity >= 1 << 20
    ring.discard()
    assert ring.capacity == 0
    ring.write(b"small")
    ring.discard()
    assert 0 < ring.capacity <= 4096  # so that small leftovers do not cost an allocation each


def test_a_list_refers_to_what_it_is_given() -> None:
    data = bytes(1 << 20)
    buffer = ringnet.LinkedBuffer()
    buffer.write(data)
    assert buffer.take(10) is data


def test_a_piece_eaten_in_small_bites_is_not_copied_each_time() -> None:
    buffer = ringnet.LinkedBuffer()
    buffer.write(bytes(2_000_000))
    for _ in range(20_000):
        buffer.discard(100)  # would copy 20 GB
    assert not buffer


@pytest.mark.parametrize("limit", [-1, "1"])
def test_limits_that_are_none(limit: int) -> None:
    with pytest.raises(ValueError, match="limit must be a number"):
        ringnet.RingBuffer(limit=limit)


MEMORY = """
import sys
import ringnet

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

make = getattr(ringnet, sys.argv[1])
buffers = [make() for _ in range(1000)]
for buffer in buffers:
    buffer.write(b"x")
    buffer.discard()
before = resident()
for buffer in buffers:
    for _ in range(4):  # pieces that malloc(3) gives back by themselves, and not only from the end
        buffer.write(b"x" * 262144)
    assert len(buffer) == 1 << 20
full = resident()
for buffer in buffers:
    while buffer:
        buffer.discard(min(len(buffer), 100_000))
print(before, full, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "name",
    [
        "RingBuffer",
        pytest.param("LinkedBuffer", marks=USES_MALLOC),
        pytest.param("MixedBuffer", marks=USES_MALLOC),
    ],
)
def test_a_thousand_buffers_give_their_megabytes_back(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, name], capture_output=True, text=True, timeout=55, check=True
    )
    before, full, after = map(int, done.stdout.split())
    assert full - before > 900 << 20
    assert after < before * 1.1


SERVER = """
import sys
import kqueue_shim
import ringnet

kqueue_shim.install()

class Gather(ringnet.EventHandler):
    def on_boot(self, engine):
        print(engine.addresses[0], flush=True)
    def on_traffic(self, conn):
        if conn.peek(min(1, conn.inbound_buffered)) in (b"2", b"8"):
            for _ in range(int(conn.next())):
                conn.write(b"x" * 131072)
        elif not conn.context or conn.inbound_buffered == 1 << 20:
            conn.context = "has said something"
            conn.discard()
            conn.write(b"!")

ringnet.run(Gather(), "tcp://127.0.0.1:0", backend=sys.argv[1], socket_send_buffer=32768)
"""


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


MEGABYTE = bytes(1 << 20)


@contextmanager
def a_server(
    backend: str, connections: int
) -> Iterator[tuple[subprocess.Popen[str], list[socket.socket]]]:
    """In a process of its own, with connections that were used once."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, backend],
        stdout=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONPATH": str(TOOLS),
            "MALLOC_MMAP_THRESHOLD_": "131072",  # else glibc raises it with what was freed
        },
    )
    peers = []
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline().rpartition(":")[2])
        for _ in range(connections):
            peer = socket.socket()
            peers.append(peer)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.settimeout(WAIT)
            peer.connect(("127.0.0.1", port))
            peer.sendall(b"x")
            assert receive(peer, 1) == b"!"
        yield server, peers
    finally:
        for peer in peers:
            peer.close()
        server.terminate()
        server.wait(WAIT)
        assert server.stdout is not None
        server.stdout.close()


def use_all_receive_buffers(server: subprocess.Popen[str], peers: list[socket.socket]) -> None:
    """They stay once they were used."""
    server.send_signal(signal.SIGSTOP)
    for peer in peers:
        peer.sendall(MEGABYTE[: 1 << 16])
    server.send_signal(signal.SIGCONT)
    for peer in peers:
        peer.sendall(MEGABYTE[1 << 16 :])
        assert receive(peer, 1) == b"!"


def buffer_a_megabyte_each(pid: int, peers: list[socket.socket]) -> None:
    """All at the same time, and then drained."""
    before = resident(pid)
    for peer in peers:
        peer.sendall(MEGABYTE[1:])
    until(lambda: resident(pid) - before > len(peers) * 0.9 * (1 << 20))
    for peer in peers:
        peer.sendall(b"x")
    for peer in peers:
        assert receive(peer, 1) == b"!"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("backend", BACKENDS)
def test_connections_give_what_they_received_back(backend: str) -> None:
    """A thousand; a few less where select(2) takes no descriptor above 1023."""
    with a_server(backend, 990 if backend == "select" else 1000) as (server, peers):
        use_all_receive_buffers(server, peers[:300])
        before = resident(server.pid)
        buffer_a_megabyte_each(server.pid, peers)
        assert resident(server.pid) < before * 1.1


@USES_MALLOC
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("backend", BACKENDS)
def test_connections_give_what_they_sent_back(backend: str) -> None:
    """Their peers read late; the first time makes the small objects that stay with malloc(3)."""

    def owe(eighths: int) -> None:
        before = resident(server.pid)
        for peer in peers:
            peer.sendall(b"%d" % eighths)
        size = eighths << 17
        until(lambda: resident(server.pid) - before > len(peers) * size // 2)
        for peer in peers:
            assert len(receive(peer, size)) == size

    with a_server(backend, 120) as (server, peers):
        owe(2)
        before = resident(server.pid)
        owe(8)
        assert resident(server.pid) < before * 1.1


@pytest.mark.parametrize("kind", [ringnet.RingBuffer, ringnet.LinkedBuffer, ringnet.MixedBuffer])
def test_what_could_not_be_passed_on_is_still_there(kind: Any) -> None:
    class Broken:
        def write(self, data: bytes) -> None:
            raise OSError("no space")

    buffer = kind()
    buffer.write(b"precious")
    with pytest.raises(OSError, match="no space"):
        buffer.write_to(Broken())
    with pytest.raises(TypeError):
        buffer.readinto(memoryview(b"read-only"))
    assert buffer.next() == b"precious"


def test_a_ring_of_which_little_is_used_shrinks() -> None:
    ring = ringnet.RingBuffer(bytes(1_000_000))
    ring.discard(999_000)
    assert ring.capacity < 10_000
    assert ring.next() == bytes(1000)
