"""One allocation of a write or a verb fails, whichever: all of it happens, or nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import faults
import pytest
import ringnet
from contract_tools import Rig, tcp_pair
from engine_tools import BACKENDS, Recorder, dial, receive, served, until
from ringnet.completion import CLOSED, DRAINED, NOW

pytestmark = pytest.mark.skipif(
    sys.implementation.name != "cpython", reason="the hooks are CPython's"
)
FARTHEST = 14  # allocations: beyond, a write or a verb is over


@contextmanager
def refusing(nth: int) -> Iterator[list[bool]]:
    """Refuse the nth allocation; whether the body was done goes into a list that is there."""
    done = [False]
    try:
        with faults.refuse_memory(nth):
            yield done
    except MemoryError:
        pass


class Writes(Recorder):
    """A byte says which allocation of the next write to the first connection is refused; then the
    other gets an "o"."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.conns: list[ringnet.Connection] = []
        self.owed: list[bytes] = []
        self.waiting = 0

    def on_open(self, conn: ringnet.Connection) -> None:
        self.conns.append(conn)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        nth = conn.next()[0]
        first, other = self.conns
        piece = bytes([nth + 1]) * self.size
        before = first.outbound_buffered
        with refusing(nth) as done:
            first.write(piece)
            done[0] = True
        if done[0]:
            self.owed.append(piece)
        self.waiting = first.outbound_buffered - before
        other.write(b"o")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [1, 1_000, 70_000, 1_000_000])
def test_a_write(backend: str, size: int) -> None:
    """Nobody gets the bytes of another, and what was refused is not counted as waiting."""
    handler = Writes(size)
    options = {"high_water": 1 << 30, "max_outbound": 1 << 30}
    with served(backend, handler, **options) as engine:
        with dial(engine) as first, dial(engine) as other:
            until(lambda: len(handler.conns) == 2)
            if handler.conns[0].remote_address != first.getsockname():
                handler.conns.reverse()
            for nth in range(FARTHEST):
                other.sendall(bytes([nth]))
                assert receive(other, 1) == b"o"
                assert handler.waiting == sum(map(len, handler.owed[nth:]))
                handler.owed += [b""] * (nth + 1 - len(handler.owed))
            owed = b"".join(handler.owed)
            assert owed
            assert receive(first, len(owed)) == owed
        until(lambda: engine.count_connections() == 0)
        assert engine.buffered == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_that_is_congested(backend: str) -> None:
    """`on_writable` comes when all is sent; or the connection ends, if that cannot be seen to."""

    class Congests(Recorder):
        nth = 0

        def on_traffic(self, conn: ringnet.Connection) -> None:
            nth = conn.next()[0]
            with refusing(nth):
                conn.write(bytes(200_000))
            self.seen.put(("congested", not conn.is_writable))

        def on_writable(self, conn: ringnet.Connection) -> None:
            self.seen.put(("writable", conn))

    handler = Congests()
    with served(backend, handler, high_water=100_000) as engine:
        for nth in range(FARTHEST):
            with dial(engine) as client:
                conn = handler.expect("open")
                client.sendall(bytes([nth]))
                if handler.expect("congested"):
                    drain(client)
                    name, _ = handler.seen.get(timeout=20)
                    assert name in ("writable", "close")
                    if name == "close":
                        continue
                conn.close()
                drain(client)
            handler.expect("close")
        until(lambda: engine.count_connections() == 0)
        assert engine.buffered == 0


def drain(client: Any) -> None:
    """All that comes at once, or until its end."""
    client.settimeout(0.2)
    try:
        while client.recv(1 << 20):
            pass
    except (TimeoutError, ConnectionResetError):
        pass


@pytest.mark.parametrize("verb", ["notify", "pause", "close", "send", "send_to"])
def test_what_was_sent_before_a_verb(make_rig: Callable[..., Rig], verb: str) -> None:
    """It leaves, though there is no memory for the verb."""
    more: dict[str, tuple[Any, ...]] = {"close": (NOW,), "send": (b"?",), "send_to": (b"?", b"")}
    made = make_rig()
    one, peer = made.pair()
    other, bystander = made.pair()
    made.turn()
    for nth in range(FARTHEST):
        made.backend.send(one, b"first")
        made.backend.send(other, b"second")
        with refusing(nth) as done:
            getattr(made.backend, verb)(other, *more.get(verb, ()))
            done[0] = True
        assert made.exchange(peer, 5) == b"first"
        if verb != "close" or not done[0]:
            expected = b"second?" if verb == "send" and done[0] else b"second"
            assert made.exchange(bystander, len(expected)) == expected
        elif done[0]:
            made.until(other, CLOSED)
            other, bystander = made.pair()
            made.turn()
    made.backend.notify(one)
    made.until(one, DRAINED)


def test_a_start(make_rig: Callable[..., Rig]) -> None:
    """A handle whose start found no memory can be started again at once."""
    made = make_rig()
    for nth in range(FARTHEST):
        ours, peer = tcp_pair()
        made.peers.append(peer)
        handle = made.new_handle()
        made.fds[handle] = ours.fileno()
        with refusing(nth) as done:
            made.backend.adopt(handle, ours.fileno())
            done[0] = True
        if not done[0]:
            made.backend.adopt(handle, ours.fileno())
        ours.detach()
        made.backend.send(handle, b"x")
        assert made.exchange(peer, 1) == b"x"
