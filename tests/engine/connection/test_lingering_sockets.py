"""SO_LINGER with a time would have close(2) wait, and so its loop; no close of ours does."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import ExitStack
from time import monotonic

import pytest
import ringnet
from contract_tools import Rig, tcp_pair
from engine_tools import BACKENDS, WAIT, Recorder, dial, endpoint, on_loop, receive, served, until
from ringnet.completion import CLOSED, GRACEFUL, NOW, RESET

LONG = 30  # seconds
SOON = 5.0
FLOOD = bytes(8 << 20)


def linger(sock: socket.socket, seconds: int = LONG) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))


def stalled(made: Rig) -> int:
    """A stream that lingers, whose peer does not read what is in the kernel."""
    ours, peer = tcp_pair(sndbuf=200_000, rcvbuf=4096)
    made.peers.append(peer)
    linger(ours)
    handle = made.adopt(ours)
    made.clog(handle, 2_000_000)
    return handle


@pytest.mark.parametrize("mode", [NOW, RESET])
def test_a_close_does_not_wait(made: Rig, mode: int) -> None:
    handle = stalled(made)
    begun = monotonic()
    made.backend.close(handle, mode)
    made.until(handle, CLOSED)
    assert monotonic() - begun < SOON


def test_a_graceful_close_that_is_overtaken_does_not_wait(made: Rig) -> None:
    handle = stalled(made)
    begun = monotonic()
    made.backend.close(handle, GRACEFUL)
    made.turn()
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)
    assert monotonic() - begun < SOON


def test_dispose_does_not_wait(make_rig: Callable[..., Rig]) -> None:
    made = make_rig()
    for _ in range(3):
        stalled(made)
    begun = monotonic()
    made.backend.dispose()
    assert monotonic() - begun < SOON


def test_without_a_time_the_close_resets(made: Rig) -> None:
    ours, peer = tcp_pair()
    made.peers.append(peer)
    linger(ours, 0)
    handle = made.adopt(ours)
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)
    peer.settimeout(WAIT)
    with pytest.raises(ConnectionResetError):
        if not peer.recv(1):
            peer.sendall(b"x")
            until(lambda: not peer.send(b"x"))


class Flooder(Recorder):
    def on_open(self, conn: ringnet.Connection) -> None:
        if self.lingers:
            conn.set_linger(LONG)
        conn.write(FLOOD)
        super().on_open(conn)

    lingers = False


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("by", ["option", "method", "enrolled"])
@pytest.mark.parametrize("end", ["close_now", "reset", "stop"])
def test_no_loop_waits_for_one_that_lingers(backend: str, by: str, end: str) -> None:
    """Whichever way the option came there, and whichever way it ends."""
    handler = Flooder()
    handler.lingers = by == "method"
    options = {"linger": LONG} if by == "option" else {}
    with ExitStack() as stack:
        engine = stack.enter_context(served(backend, handler, **options))
        if by == "enrolled":
            ours, peer = tcp_pair(rcvbuf=4096)
            linger(ours)
            stack.callback(ours.close)
            kept = stack.enter_context(ours.dup())
            engine.enroll(ours)
            assert kept.getblocking(), "the mode is that of all who share the socket"
        else:
            peer = socket.socket()
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            peer.connect(endpoint(engine))
        stack.enter_context(peer)
        conn = handler.expect("open")
        if by == "enrolled":
            kept.close()
        begun = monotonic()
        if end == "stop":
            assert engine.stop(timeout=0.2)
        else:
            on_loop(engine.reactors[0], getattr(conn, end))
            handler.expect("close")
            with dial(engine) as other:
                assert receive(other, 1000)
        assert monotonic() - begun < SOON


@pytest.mark.parametrize("backend", BACKENDS)
def test_newcomers_that_are_turned_away_do_not_linger(backend: str) -> None:
    """They have the listener's option."""
    handler = Recorder()
    with served(backend, handler, linger=LONG, max_connections=1) as engine, dial(engine) as one:
        handler.expect("open")
        begun = monotonic()
        for _ in range(5):
            with dial(engine) as other:
                assert receive(other, 1) == b""
        one.sendall(b"still")
        assert receive(one, 5) == b"still"
        assert monotonic() - begun < SOON
