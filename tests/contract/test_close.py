"""The contract: the three ways to close a stream, and what happens meanwhile (rule 6)."""

from __future__ import annotations

import errno
import socket

import faults
import pytest
from contract_tools import Rig, pattern, reset
from ringnet.completion import (
    CLOSED,
    DATA,
    EOF,
    ERROR,
    GRACEFUL,
    NOW,
    RESET,
    SHUT,
)

MODES = pytest.mark.parametrize("mode", [GRACEFUL, NOW, RESET])
HARD = pytest.mark.parametrize("mode", [NOW, RESET])


def test_graceful_sends_all_ends_our_side_and_waits_for_the_peer(made: Rig) -> None:
    handle, peer = made.pair()
    data = pattern(2_000_000)
    made.backend.send(handle, data)
    made.backend.close(handle, GRACEFUL)
    assert made.read_to_end(peer) == data
    made.until(handle, SHUT)
    made.settle()
    assert made.of(handle) == [(SHUT, 0, 0)]
    peer.close()
    made.until(handle, CLOSED)
    assert made.of(handle) == [(SHUT, 0, 0), (CLOSED, 0, 0)]


def test_graceful_does_not_linger_where_the_peer_has_ended(made: Rig) -> None:
    handle, peer = made.pair()
    peer.sendall(b"request")
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    made.backend.send(handle, b"reply")
    made.backend.close(handle, GRACEFUL)
    assert made.read_to_end(peer) == b"reply"
    made.until(handle, CLOSED)
    assert made.of(handle) == [(DATA, 0, 0), (EOF, 0, 0), (CLOSED, 0, 0)]


def test_graceful_owes_megabytes_to_a_peer_that_has_ended(made: Rig) -> None:
    handle, peer = made.pair(rcvbuf=8192)
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    data = pattern(3_000_000)
    made.backend.send(handle, data)
    made.backend.close(handle, GRACEFUL)
    assert made.read_to_end(peer) == data
    made.until(handle, CLOSED)
    assert made.of(handle) == [(EOF, 0, 0), (CLOSED, 0, 0)]


def test_graceful_notices_the_peers_end_while_it_flushes(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    data = made.clog(handle, 500_000)
    made.backend.close(handle, GRACEFUL)
    peer.sendall(b"never delivered")
    peer.shutdown(socket.SHUT_WR)
    made.settle()
    assert made.read_to_end(peer) == data
    made.until(handle, CLOSED)
    late = faults.is_on() and made.has(handle, SHUT)  # it was not read before all was sent
    assert made.of(handle) == [(SHUT, 0, 0)] * late + [(CLOSED, 0, 0)]


def test_unread_input_does_not_destroy_what_was_sent(made: Rig) -> None:
    handle, peer = made.pair()
    reply = pattern(1_000_000)
    made.backend.pause(handle)
    peer.sendall(b"x" * 50_000)  # unread when the close comes
    made.backend.send(handle, reply)
    made.backend.close(handle, GRACEFUL)
    peer.setblocking(False)
    got = bytearray()
    chatter = 0

    def chat() -> bool:
        nonlocal chatter
        try:
            chatter += peer.send(b"y" * 10_000)
        except BlockingIOError:
            pass
        try:
            got.extend(peer.recv(20_000))
        except BlockingIOError:
            pass
        return len(got) == len(reply) and chatter > 500_000

    made.pump(chat)
    assert bytes(got) == reply
    made.until(handle, SHUT)
    peer.close()
    made.until(handle, CLOSED)
    assert made.of(handle) == [(SHUT, 0, 0), (CLOSED, 0, 0)]
    assert made.received[handle] == b""


@HARD
def test_a_hard_close_counts_what_was_never_sent(made: Rig, mode: int) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(handle, 1_000_000)
    staged = made.staged(handle)
    made.backend.close(handle, mode)
    lost, status = made.until(handle, CLOSED)
    # Not just what was staged: a send inside the kernel may have got further meanwhile.
    assert (0 < lost <= staged, status) == (True, 0)
    assert made.of(handle) == [(CLOSED, lost, 0)]
    peer.setblocking(True)
    got = 0
    try:
        while piece := peer.recv(1 << 16):
            got += len(piece)
    except ConnectionResetError:
        assert mode == RESET
    else:
        assert got == 1_000_000 - lost


def test_now_loses_nothing_where_nothing_is_staged(made: Rig) -> None:
    handle, peer = made.pair()
    made.backend.send(handle, b"all of it")
    made.turn()
    made.pump(lambda: made.staged(handle) == 0)
    made.backend.close(handle, NOW)
    assert made.until(handle, CLOSED) == (0, 0)
    assert peer.recv(100) == b"all of it"
    assert peer.recv(100) == b""


def test_reset_is_a_reset_for_the_peer(made: Rig) -> None:
    handle, peer = made.pair()
    made.turn()
    made.backend.close(handle, RESET)
    assert made.until(handle, CLOSED) == (0, 0)
    with pytest.raises(ConnectionResetError):
        peer.recv(1)


@MODES
def test_closed_in_the_turn_it_was_adopted(made: Rig, mode: int) -> None:
    handle, peer = made.pair()
    peer.sendall(b"never delivered")
    made.backend.close(handle, mode)
    if mode == GRACEFUL:
        assert made.read_to_end(peer) == b""
        peer.close()
    made.until(handle, CLOSED)
    made.settle()
    assert made.of(handle) == [(SHUT, 0, 0)] * (mode == GRACEFUL) + [(CLOSED, 0, 0)]


def test_closed_softly_in_the_turn_of_the_send(made: Rig) -> None:
    handle, peer = made.pair()
    made.turn()
    made.backend.send(handle, b"bye")
    made.backend.close(handle, GRACEFUL)
    made.backend.send(handle, b"too late")
    assert made.read_to_end(peer) == b"bye"
    peer.close()
    assert made.until(handle, CLOSED) == (0, 0)
    assert made.of(handle) == [(SHUT, 0, 0), (CLOSED, 0, 0)]


@HARD
def test_closed_hard_in_the_turn_of_the_send(made: Rig, mode: int) -> None:
    # How much of it leaves is up to the backend; that nothing is counted twice is not.
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.turn()
    made.backend.send(handle, pattern(1_000_000))
    made.backend.notify(handle)
    made.backend.close(handle, mode)
    lost, status = made.until(handle, CLOSED)
    assert made.of(handle) == [(CLOSED, lost, 0)]
    assert (0 < lost <= 1_000_000, status) == (True, 0)
    if mode == NOW:
        assert len(made.read_to_end(peer)) == 1_000_000 - lost


@MODES
def test_after_a_close_no_data_is_said(made: Rig, mode: int) -> None:
    handle, peer = made.pair()
    peer.sendall(b"before")
    made.pump(lambda: made.received[handle] == b"before")
    peer.sendall(b"after")
    made.backend.close(handle, mode)
    made.turn(0.2)
    peer.close()
    made.until(handle, CLOSED)
    assert made.received[handle] == b"before"
    assert set(made.kinds(handle)) <= {DATA, SHUT, CLOSED}
    assert made.kinds(handle)[-1] == CLOSED


@MODES
def test_close_while_data_is_arriving(made: Rig, mode: int) -> None:
    pairs = [made.pair() for _ in range(40)]
    for _, peer in pairs:
        peer.sendall(pattern(60_000))
    made.turn(1.0)
    at_close = {handle: len(made.received[handle]) for handle, _ in pairs}
    for handle, _ in pairs:
        made.backend.close(handle, mode)
    made.turn(0.1)
    for _, peer in pairs:
        peer.close()
    made.pump(lambda: all(made.has(handle, CLOSED) for handle, _ in pairs))
    for handle, _ in pairs:
        assert made.kinds(handle).count(CLOSED) == 1
        assert made.kinds(handle)[-1] == CLOSED
        assert made.received[handle] == pattern(60_000)[: at_close[handle]]


@pytest.mark.parametrize("first", [GRACEFUL, NOW, RESET])
@pytest.mark.parametrize("second", [GRACEFUL, NOW, RESET])
def test_closing_twice_in_a_turn_ends_once(made: Rig, first: int, second: int) -> None:
    handle, peer = made.pair()
    made.backend.close(handle, first)
    made.backend.close(handle, second)
    made.turn(0.2)
    peer.close()
    made.until(handle, CLOSED)
    made.settle()
    said = made.of(handle)
    assert said[-1] == (CLOSED, 0, 0)
    assert said[:-1] in ([], [(SHUT, 0, 0)])
    if first != GRACEFUL:
        assert said == [(CLOSED, 0, 0)]


def test_harder_overtakes_softer_while_flushing(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(handle, 1_000_000)
    made.backend.close(handle, GRACEFUL)
    made.settle()
    assert made.of(handle) == []
    staged = made.staged(handle)
    made.backend.close(handle, NOW)
    lost, status = made.until(handle, CLOSED)
    assert (0 < lost <= staged, status) == (True, 0)
    assert made.of(handle) == [(CLOSED, lost, 0)]
    assert len(made.read_to_end(peer)) == 1_000_000 - lost


@HARD
def test_harder_overtakes_softer_while_lingering(made: Rig, mode: int) -> None:
    handle, peer = made.pair()
    made.backend.close(handle, GRACEFUL)
    made.until(handle, SHUT)
    made.backend.close(handle, GRACEFUL)  # as soft as the first: it changes nothing
    made.settle()
    assert made.of(handle) == [(SHUT, 0, 0)]
    made.backend.close(handle, mode)
    made.until(handle, CLOSED)
    assert made.of(handle) == [(SHUT, 0, 0), (CLOSED, 0, 0)]
    if mode == RESET:
        # Our end came before, so the reset says that nobody reads any more.
        with pytest.raises(BrokenPipeError):
            peer.sendall(b"x")


def test_our_end_and_then_a_graceful_close(made: Rig) -> None:
    handle, peer = made.pair()
    made.backend.shutdown(handle)
    made.until(handle, SHUT)
    made.backend.close(handle, GRACEFUL)
    made.turn(0.2)
    peer.close()
    assert made.until(handle, CLOSED) == (0, 0)
    assert made.of(handle) == [(SHUT, 0, 0), (SHUT, 0, 0), (CLOSED, 0, 0)]


@HARD
def test_after_a_hard_close_nothing_owed_is_said(made: Rig, mode: int) -> None:
    handle, _ = made.pair()
    made.turn()
    made.backend.notify(handle)
    made.backend.shutdown(handle)
    made.backend.close(handle, mode)
    made.until(handle, CLOSED)
    assert made.of(handle) == [(CLOSED, 0, 0)]


def test_a_reset_of_an_idle_stream_is_an_error(made: Rig) -> None:
    handle, peer = made.pair()
    made.turn()
    reset(peer)
    assert made.until(handle, ERROR) == (-errno.ECONNRESET, 0)


def test_a_reset_behind_unread_data(made: Rig) -> None:
    handle, peer = made.pair()
    made.backend.pause(handle)
    made.settle()
    peer.sendall(b"unread")
    reset(peer)
    made.settle()
    assert made.of(handle) == []
    made.backend.resume(handle)
    made.until(handle, ERROR)
    # What arrived before the reset is the kernel's to keep or to drop; its order is not.
    assert made.received[handle] in (b"", b"unread")
    assert made.of(handle)[-1] == (ERROR, -errno.ECONNRESET, 0)


def test_a_reset_while_flushing_closes_with_the_error_and_the_loss(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(handle, 1_000_000)
    made.backend.close(handle, GRACEFUL)
    made.settle()
    staged = made.staged(handle)
    reset(peer)
    lost, status = made.until(handle, CLOSED)
    assert 0 < lost <= staged
    assert -status in (errno.ECONNRESET, errno.EPIPE)
    assert made.kinds(handle) == [CLOSED]


def test_a_reset_while_lingering_closes_with_the_error(made: Rig) -> None:
    handle, peer = made.pair()
    made.backend.close(handle, GRACEFUL)
    made.until(handle, SHUT)
    reset(peer)
    made.until(handle, CLOSED)
    assert made.of(handle) == [(SHUT, 0, 0), (CLOSED, 0, -errno.ECONNRESET)]


def test_reset_and_close_in_the_same_turn(made: Rig) -> None:
    handle, peer = made.pair()
    made.turn()
    reset(peer)
    made.backend.close(handle, GRACEFUL)
    a, b = made.until(handle, CLOSED)
    assert (a, b in (0, -errno.ECONNRESET, -errno.EPIPE)) == (0, True)
    assert ERROR not in made.kinds(handle)
