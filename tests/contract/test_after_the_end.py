"""The contract: what comes behind an end (rules 4 and 6), and closes that nothing may hold up."""

from __future__ import annotations

import errno
import os
import signal
import socket
import struct
from collections.abc import Callable

import pytest
from contract_tools import Rig, reset, tcp_pair
from ringnet.completion import CLOSED, EOF, ERROR, GRACEFUL, NOW, RESET, SHUT
from stuck import at_most

BROKEN = {errno.ECONNRESET, errno.EPIPE}
MODES = pytest.mark.parametrize("mode", [GRACEFUL, NOW, RESET])


def test_a_reset_behind_the_peers_end_is_told(made: Rig) -> None:
    """Nothing is written, so no send can find it out."""
    handle, peer = made.pair()
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    made.settle()
    reset(peer)
    a, _ = made.until(handle, ERROR)
    assert -a in BROKEN
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)
    assert made.kinds(handle) == [EOF, ERROR, CLOSED]


def test_a_reset_behind_the_end_of_a_paused_stream(made: Rig) -> None:
    """As long as nothing is read, nothing is told."""
    handle, peer = made.pair()
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    made.backend.pause(handle)
    made.settle()
    reset(peer)
    made.settle()
    assert made.kinds(handle) == [EOF]
    made.backend.resume(handle)
    a, _ = made.until(handle, ERROR)
    assert -a in BROKEN


def test_the_end_alone_is_no_error(made: Rig) -> None:
    pairs = [tcp_pair(), socket.socketpair()]
    handles = []
    for ours, peer in pairs:
        handles.append(made.adopt(ours))
        peer.shutdown(socket.SHUT_WR)
    made.pump(lambda: all(made.has(handle, EOF) for handle in handles))
    for (_, peer), handle in zip(pairs, handles, strict=True):
        made.backend.send(handle, b"answer")
        assert made.exchange(peer, 6) == b"answer"
    made.settle()
    assert [made.kinds(handle) for handle in handles] == [[EOF], [EOF]]
    for _, peer in pairs:
        peer.close()


def test_a_second_graceful_close_loses_nothing(made: Rig) -> None:
    """In the turn of the first, and in later ones."""
    handle, peer = made.pair()
    made.turn()
    for _ in range(3):
        made.backend.close(handle, GRACEFUL)
    made.until(handle, SHUT)
    made.backend.close(handle, GRACEFUL)
    made.settle()
    assert made.of(handle) == [(SHUT, 0, 0)]
    peer.close()
    made.until(handle, CLOSED)
    assert made.kinds(handle) == [SHUT, CLOSED]


@MODES
@pytest.mark.parametrize("owes", [True, False])
def test_no_close_waits_as_long_as_so_linger_says(made: Rig, mode: int, owes: bool) -> None:
    ours, peer = tcp_pair(sndbuf=4096, rcvbuf=4096)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 30))
    made.peers.append(peer)
    handle = made.adopt(ours)
    made.turn()
    if owes:
        made.clog(handle, 300_000)
    with at_most(5):
        if mode == GRACEFUL:
            peer.shutdown(socket.SHUT_WR)
            made.until(handle, EOF)
            made.backend.close(handle, GRACEFUL)
            made.turn()
        made.backend.close(handle, max(mode, NOW))
        made.until(handle, CLOSED)


@pytest.fixture
def in_a_child() -> Callable[[], int]:
    """Forks a child that has all descriptors, and does nothing with them until it is ended."""

    def fork() -> int:
        pid = os.fork()
        if pid == 0:
            signal.alarm(60)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            while True:
                signal.pause()
        return pid

    return fork


@pytest.mark.parametrize("kind", ["tcp", "unix"])
@pytest.mark.parametrize("mode", [NOW, RESET])
def test_a_hard_close_reaches_the_peer_though_a_child_has_the_socket(
    made: Rig, in_a_child: Callable[[], int], mode: int, kind: str
) -> None:
    ours, peer = tcp_pair() if kind == "tcp" else socket.socketpair()
    peer.settimeout(5)
    made.peers.append(peer)
    handle = made.adopt(ours)
    made.turn()
    pid = in_a_child()
    try:
        made.backend.close(handle, mode)
        made.until(handle, CLOSED)
        try:
            came = peer.recv(10)
        except ConnectionResetError:
            assert mode == RESET
        else:
            assert came == b""
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("state", ["fresh", "peer ended", "both ended", "reset by the peer"])
@MODES
def test_every_close_of_every_state_ends(made: Rig, mode: int, state: str) -> None:
    """What is asked of a socket that has ended already is refused in many ways."""
    handle, peer = made.pair()
    made.turn()
    if state in ("peer ended", "both ended"):
        peer.shutdown(socket.SHUT_WR)
        made.until(handle, EOF)
    if state == "both ended":
        made.backend.shutdown(handle)
        made.until(handle, SHUT)
    if state == "reset by the peer":
        reset(peer)
        made.until(handle, ERROR)
    else:
        peer.close()
    made.backend.close(handle, mode)
    made.until(handle, CLOSED)
    assert made.kinds(handle).count(CLOSED) == 1


def test_options_that_are_refused_while_closing(made: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """As macOS does: EINVAL of a socket of which both sides have ended."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    pairs = [made.pair() for _ in range(3)]
    made.turn()
    for name in ("setsockopt", "getsockopt", "shutdown"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for (handle, _), mode in zip(pairs, [RESET, NOW, RESET], strict=True):
        made.backend.close(handle, mode)
    made.pump(lambda: all(made.has(handle, CLOSED) for handle, _ in pairs))
    monkeypatch.undo()
