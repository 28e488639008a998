"""A connection as a state machine: hypothesis makes the calls, a real engine and a peer answer.

What it holds: bytes come out in their order and once, in both directions; the state that the
connection tells is the one that follows from the calls; a refused call changes nothing; `on_close`
comes once, last, and with the error that follows from how it ended.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served, until
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

SIZES = st.sampled_from([0, 1, 3, 100, 1_000, 20_000, 70_000])


class Keeps(Recorder):
    """Reads nothing: the machine does."""

    def __init__(self) -> None:
        super().__init__()
        self.end: list[Exception | None] = []

    def on_traffic(self, conn: ringnet.Connection) -> None:
        pass

    def on_end(self, conn: ringnet.Connection) -> None:
        pass

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
        self.end.append(error)


def bytes_from(start: int, size: int) -> bytes:
    """So that each place can be told from its neighbours."""
    return bytes((start + i) % 251 for i in range(size))


class Machine(RuleBasedStateMachine):
    engine: ringnet.Engine
    handler: Keeps

    def __init__(self) -> None:
        super().__init__()
        self.handler.end.clear()
        self.peer = dial(self.engine)
        self.conn: Any = self.handler.expect("open")
        self.said = 0  # bytes by the peer
        self.read = 0  # of them, by the connection
        self.written = 0  # bytes by the connection
        self.got = 0  # of them, by the peer
        self.paused = self.shut = self.peer_ended = self.closed = False

    def do(self, call: Callable[[], Any]) -> Any:
        return on_loop(self.conn.loop, call)

    def arrived(self) -> None:
        """Wait until all that the peer has said is there."""
        until(lambda: self.do(lambda: self.conn.inbound_buffered) == self.said - self.read)

    def is_open(self) -> bool:
        return not self.closed

    # The peer

    @precondition(lambda self: not (self.peer_ended or self.closed))
    @rule(size=SIZES)
    def peer_says(self, size: int) -> None:
        self.peer.sendall(bytes_from(self.said, size))
        self.said += size
        if not self.paused:
            self.arrived()

    @precondition(lambda self: not self.closed)
    @rule()
    def peer_reads_all(self) -> None:
        size = self.written - self.got
        assert receive(self.peer, size) == bytes_from(self.got, size)
        self.got = self.written

    @precondition(lambda self: not (self.peer_ended or self.closed or self.paused or self.shut))
    @rule()
    def peer_ends(self) -> None:
        self.peer.shutdown(socket.SHUT_WR)
        self.peer_ended = True
        until(lambda: self.conn.peer_has_ended)

    # The connection

    @precondition(is_open)
    @rule(size=SIZES, how=st.sampled_from(["next", "peek", "discard", "read", "readinto"]))
    def take(self, size: int, how: str) -> None:
        there = self.do(lambda: self.conn.inbound_buffered)
        assert there <= self.said - self.read
        if how in ("next", "peek", "discard") and size > there:
            with pytest.raises(ringnet.ShortBuffer):
                self.do(lambda: getattr(self.conn, how)(size))
            return
        size = min(size, there)
        if how == "readinto":
            room = bytearray(size)
            assert self.do(lambda: self.conn.readinto(room)) == size
            assert room == bytes_from(self.read, size)
        elif how == "discard":
            assert self.do(lambda: self.conn.discard(size)) == size
        else:
            got = self.do(lambda: getattr(self.conn, how)(size))
            assert got == bytes_from(self.read, size)
        self.read += 0 if how == "peek" else size

    @precondition(is_open)
    @rule(size=SIZES, from_elsewhere=st.booleans())
    def write(self, size: int, from_elsewhere: bool) -> None:
        data = bytes_from(self.written, size)
        if self.shut:
            with pytest.raises(ringnet.ConnectionClosed):
                self.do(lambda: self.conn.write(data))
        elif from_elsewhere:
            self.conn.async_write(data)
            self.written += size
        else:
            self.do(lambda: self.conn.write(data))
            self.written += size

    @precondition(is_open)
    @rule()
    def on_the_wrong_thread(self) -> None:
        for call in (self.conn.next, self.conn.peek, self.conn.reset, self.conn.close_now):
            with pytest.raises(ringnet.WrongThread):
                call()

    @precondition(lambda self: not (self.closed or self.peer_ended))
    @rule()
    def pause(self) -> None:
        self.do(self.conn.pause_reading)
        self.paused = True

    @precondition(lambda self: self.paused and not self.closed)
    @rule()
    def resume(self) -> None:
        self.do(self.conn.resume_reading)
        self.paused = False
        self.arrived()

    @precondition(lambda self: not (self.closed or self.peer_ended))
    @rule()
    def shutdown_write(self) -> None:
        self.do(self.conn.shutdown_write)
        self.shut = True

    @precondition(is_open)
    @rule(how=st.sampled_from(["close", "close_now", "reset"]))
    def close(self, how: str) -> None:
        self.do(getattr(self.conn, how))
        self.closed = True
        if how == "close":
            size = self.written - self.got
            assert receive(self.peer, size + 1) == bytes_from(self.got, size)
        self.peer.close()
        until(lambda: self.handler.end)
        assert self.handler.end == [None]

    @precondition(lambda self: self.closed)
    @rule()
    def use_after_the_end(self) -> None:
        for end in (self.conn.close, self.conn.close_now, self.conn.reset):
            self.do(end)
        for call in (self.conn.next, self.conn.resume_reading, self.conn.pause_reading):
            with pytest.raises(ringnet.ConnectionClosed):
                self.do(call)
        assert self.conn.fileno() == -1

    @invariant()
    def tells_its_state(self) -> None:
        if not self.closed:
            assert self.conn.is_reading is not self.paused
            assert self.handler.end == []

    def teardown(self) -> None:
        if not self.closed:
            self.do(self.conn.close_now)
        self.peer.close()
        until(lambda: self.handler.end)
        assert len(self.handler.end) == 1
        assert self.engine.count_connections() == 0
        assert self.engine.buffered == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_whatever_is_called_in_whatever_order(backend: str) -> None:
    handler = Keeps()
    with served(backend, handler, close_timeout=WAIT) as engine:
        kind = type("OnBackend", (Machine,), {"engine": engine, "handler": handler})
        few = settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
        )
        run_state_machine_as_test(kind, settings=few)  # type: ignore[no-untyped-call]
