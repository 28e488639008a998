"""What the contract suite works with: a backend of any name, and a rig that keeps its books.

The law of this file: every wait has a bound, and a wait that fails says what was seen instead.
"""

from __future__ import annotations

import os
import socket
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from sys import platform
from time import monotonic

from ringnet.completion import (
    ACCEPTED,
    CLOSED,
    DATA,
    DATAGRAM,
    INDEX_BITS,
    INDEX_MASK,
    KIND_NAMES,
    NAME_ROOM,
    NOW,
    READY,
    Bounds,
    Event,
)
from ringnet.engine.base.contract import Backend
from ringnet.fallback.backend import FallbackBackend
from ringnet.fallback.pollers import POLLERS, why_not

# io_uring as older kernels have it: the set-up flags that may be used.
OLDER_RINGS = {"io_uring-6.0": 1 << 7 | 1 << 8 | 1 << 12, "io_uring-5.19": 1 << 7 | 1 << 8}
PATIENCE = float(os.environ.get("RINGNET_PATIENCE", "1"))  # more where all is slow, as in valgrind
SECONDS = 15.0 * PATIENCE  # how long anything may take
STEP = 0.002  # seconds a turn waits at most: the peers of a test act between turns
# With a few KiB of receive buffer a larger segment may never fit the window, which TCP rounds down
# to whole segments: what is left then goes out by the persist timer, 2 KB each 200 ms.
SMALL_SEGMENT = 536


def backend_names() -> list[str]:
    """Every backend that this system has. On Linux io_uring is one, whether or not it works."""
    names = [name for name in POLLERS if why_not(name) is None]  # kqueue, by the shim, on Linux
    if platform.startswith("linux"):
        names = ["io_uring", *names, *OLDER_RINGS]
    return names + [f"{name}-edge" for name in names if name in ("epoll", "kqueue")]


def make_backend(name: str, bounds: Bounds) -> Backend:
    """A backend of that name, on this thread."""
    if name.endswith("-edge"):
        return make_backend(name.removesuffix("-edge"), replace(bounds, edge_chunk=40_000))
    if name.startswith("io_uring"):
        from ringnet.uring.backend import UringBackend

        return UringBackend(bounds, OLDER_RINGS.get(name, 0xFFFFFFFF))
    return FallbackBackend(POLLERS[name](), bounds)


class Rig:
    """A backend, the handles started on it, and all that it said about them."""

    def __init__(self, name: str, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.backend = make_backend(name, self.bounds)
        self.said: list[Event] = []
        self._first: dict[tuple[int, int], tuple[int, int]] = {}  # a and b, by handle and kind
        self.packets: dict[int, list[tuple[bytes, bytes]]] = defaultdict(list)
        self.received: dict[int, bytes] = defaultdict(bytes)
        self.fds: dict[int, int] = {}
        self.peers: list[socket.socket] = []
        self._generations: dict[int, int] = {}
        self._free: list[int] = []

    # Handles

    def new_handle(self) -> int:
        """One that was never used; the index last given back comes first."""
        index = self._free.pop() if self._free else len(self._generations)
        self._generations[index] = self._generations.get(index, 0) + 1
        return self._generations[index] << INDEX_BITS | index

    def staged(self, handle: int) -> int:
        return self.backend.staged[handle & INDEX_MASK]

    def adopt(self, sock: socket.socket) -> int:
        """Give a connected socket to the backend."""
        handle = self.new_handle()
        self.fds[handle] = self._release(sock)
        self.backend.adopt(handle, self.fds[handle])
        return handle

    def adopt_packets(self, sock: socket.socket) -> int:
        """Give a socket of packets to the backend."""
        handle = self.new_handle()
        self.fds[handle] = self._release(sock)
        self.backend.adopt_packets(handle, self.fds[handle])
        return handle

    def _release(self, sock: socket.socket) -> int:
        sock.setblocking(False)
        return sock.detach()

    def pair(self, **sizes: int) -> tuple[int, socket.socket]:
        """A TCP connection: the backend's end as a handle, and the peer's as a socket.

        `sndbuf` and `rcvbuf` are the sizes of our send buffer and of the peer's receive buffer.
        """
        ours, peer = tcp_pair(**sizes)
        self.peers.append(peer)
        return self.adopt(ours), peer

    def listen(self, backlog: int = 512) -> tuple[int, tuple[str, int]]:
        """A listener on the loopback."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen(backlog)
        address = sock.getsockname()
        handle = self.new_handle()
        self.fds[handle] = self._release(sock)
        self.backend.listen(handle, self.fds[handle])
        return handle, address

    def connect(self, family: int, packed: bytes) -> int:
        """Connect a new socket."""
        sock = socket.socket(family, socket.SOCK_STREAM)
        handle = self.new_handle()
        self.fds[handle] = self._release(sock)
        self.backend.connect(handle, self.fds[handle], packed)
        return handle

    def client(self, address: tuple[str, int]) -> socket.socket:
        """A peer that connects to a listener."""
        sock = socket.create_connection(address, timeout=SECONDS)
        self.peers.append(sock)
        return sock

    # Turns

    def turn(self, timeout: float | None = 0.0) -> list[Event]:
        """One turn; data is taken out while it is valid."""
        events = list(self.backend.turn(timeout))
        assert len(events) <= self.bounds.events
        for event in events:
            handle, kind, a, b = event
            self._first.setdefault((handle, kind), (a, b))
            if kind == DATA:
                assert 0 < b <= self.bounds.receive_buffer_size
                self.received[handle] += self.backend.memory[a : a + b]
            elif kind == DATAGRAM:
                name, start = self.backend.memory[a : a + (b >> 32)], a + NAME_ROOM
                data = self.backend.memory[start : start + (b & 0xFFFFFFFF)]
                self.packets[handle].append((data, name))
            elif kind in (CLOSED, READY):
                self._free.append(handle & INDEX_MASK)
        self.said += events
        return events

    def pump(self, until: Callable[[], object], seconds: float = SECONDS) -> None:
        """Turn until it holds. Fails with what was said when the time is over."""
        deadline = monotonic() + seconds
        while not until():
            left = deadline - monotonic()
            assert left > 0, f"waited {seconds} s in vain; the last that was said: {self.tail()}"
            self.turn(min(left, STEP))

    def settle(self) -> None:
        """Turn until nothing more comes: for asserting that something does not."""
        quiet = 0
        while quiet < 3:
            quiet = 0 if self.turn(0.02) else quiet + 1

    def tail(self) -> list[str]:
        return [f"{h:#x} {KIND_NAMES[k]} {a} {b}" for h, k, a, b in self.said[-20:]]

    # Books

    def forget(self) -> None:
        """What was said so far."""
        self.said.clear()
        self._first.clear()

    def of(self, handle: int) -> list[tuple[int, int, int]]:
        """What was said about a handle: (kind, a, b), where data in a row counts as one."""
        found: list[tuple[int, int, int]] = []
        for h, kind, a, b in self.said:
            if h == handle and not (kind == DATA and found and found[-1][0] == DATA):
                found.append((DATA, 0, 0) if kind == DATA else (kind, a, b))
        return found

    def kinds(self, handle: int) -> list[int]:
        return [kind for kind, _, _ in self.of(handle)]

    def has(self, handle: int, kind: int) -> bool:
        return (handle, kind) in self._first

    def until(self, handle: int, kind: int) -> tuple[int, int]:
        """Turn until that was said; returns a and b of it."""
        self.pump(lambda: self.has(handle, kind))
        return self._first[handle, kind]

    def accepted(self, handle: int) -> list[int]:
        return [a for h, k, a, _ in self.said if h == handle and k == ACCEPTED]

    # Peers

    def exchange(self, peer: socket.socket, size: int) -> bytes:
        """Turn, and read at the peer's side, until there are so many bytes."""
        peer.setblocking(False)
        got = bytearray()

        def enough() -> bool:
            got.extend(read_all(peer, size - len(got)))
            return len(got) >= size

        self.pump(enough)
        return bytes(got)

    def packets_at(self, peer: socket.socket, count: int) -> list[bytes]:
        """Turn until so many packets have come to the peer."""
        peer.setblocking(False)
        came: list[bytes] = []

        def enough() -> bool:
            try:
                while len(came) < count:
                    came.append(peer.recv(1 << 17))
            except BlockingIOError:
                return False
            return True

        self.pump(enough)
        return came

    def read_to_end(self, peer: socket.socket) -> bytes:
        """Turn, and read at the peer's side, until the end."""
        peer.setblocking(False)
        got = bytearray()
        ended = False

        def end() -> bool:
            nonlocal ended
            try:
                while not ended and (piece := peer.recv(1 << 16)):
                    got.extend(piece)
                ended = True
            except BlockingIOError:
                pass
            return ended

        self.pump(end)
        return bytes(got)

    def clog(self, handle: int, size: int) -> bytes:
        """Send what cannot leave as long as the peer does not read."""
        data = pattern(size)
        self.backend.send(handle, data)
        self.pump(lambda: 0 < self.staged(handle) < size)  # the sockets are filled
        self.settle()
        assert self.staged(handle) > 0
        return data

    def end(self) -> None:
        """Close all handles and see them closed, then dispose."""
        for peer in self.peers:
            peer.close()
        self.backend.dispose()


@contextmanager
def rig(name: str, bounds: Bounds | None = None) -> Iterator[Rig]:
    """A rig that leaves no descriptor behind."""
    before = count_descriptors()
    made = Rig(name, bounds)
    try:
        yield made
    finally:
        made.end()
    assert count_descriptors() == before


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd" if platform.startswith("linux") else "/dev/fd"))


def tcp_pair(sndbuf: int = 0, rcvbuf: int = 0) -> tuple[socket.socket, socket.socket]:
    """Both ends of a connection over the loopback: ours and the peer's."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if rcvbuf:
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SMALL_SEGMENT)
        if sndbuf:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, sndbuf)
        listener.listen(1)
        peer = socket.socket()
        if rcvbuf:
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        peer.settimeout(SECONDS)
        peer.connect(listener.getsockname())
        ours, _ = listener.accept()
    return ours, peer


def read_all(sock: socket.socket, most: int) -> bytes:
    """What a non-blocking socket has now."""
    try:
        return sock.recv(most) if most else b""
    except BlockingIOError:
        return b""


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def pattern(size: int) -> bytes:
    """Bytes in which every place can be told from its neighbours, and from the next megabyte."""
    words = b"".join(n.to_bytes(4, "big") for n in range((size + 3) // 4))
    return words[:size]


def pack4(address: tuple[str, int]) -> bytes:
    """A packed sockaddr_in of this system."""
    host, port = address
    return _head(socket.AF_INET, 16) + struct.pack("!H4s8x", port, socket.inet_aton(host))


def pack6(address: tuple[str, int]) -> bytes:
    """A packed sockaddr_in6 of this system."""
    host, port = address
    packed = socket.inet_pton(socket.AF_INET6, host)
    return _head(socket.AF_INET6, 28) + struct.pack("!HI16s", port, 0, packed) + bytes(4)


def pack_unix(path: bytes) -> bytes:
    """A packed sockaddr_un of this system."""
    end = b"" if path.startswith(b"\0") else b"\0"
    return _head(socket.AF_UNIX, 2 + len(path)) + path + end


def _head(family: int, size: int) -> bytes:
    has_length = not platform.startswith("linux")
    return struct.pack("BB", size, family) if has_length else struct.pack("=H", family)


def close_all(made: Rig, handles: list[int]) -> None:
    """Close these now and see the final event of each."""
    for handle in handles:
        made.backend.close(handle, NOW)
    made.pump(lambda: all(made.has(handle, CLOSED) for handle in handles))
