"""The contract: sending, what is staged, and DRAINED (rule 8)."""

from __future__ import annotations

import socket

from contract_tools import Rig, close_all, pattern, reset
from ringnet.completion import CLOSED, DATA, DRAINED, EOF, ERROR, INDEX_MASK, NOW, SHUT


def test_a_large_send_arrives_byte_for_byte(made: Rig) -> None:
    handle, peer = made.pair()
    data = pattern(5_000_000)
    made.backend.send(handle, data)
    made.backend.notify(handle)
    assert made.exchange(peer, len(data)) == data
    made.until(handle, DRAINED)
    assert made.staged(handle) == 0
    assert made.of(handle) == [(DRAINED, 0, 0)]


def test_short_writes_to_a_slow_reader_lose_nothing(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    data = pattern(300_000)
    made.backend.send(handle, data)
    peer.setblocking(False)
    got = bytearray()

    def read_little() -> bool:
        try:
            got.extend(peer.recv(1777))
        except BlockingIOError:
            pass
        return len(got) == len(data)

    made.pump(read_little)
    assert bytes(got) == data


def test_sends_of_one_turn_arrive_in_order(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    first, rest = pattern(200_000), [b"<%d>" % n * 100 for n in range(100)]
    made.backend.send(handle, first)
    for piece in rest:
        made.backend.send(handle, piece)
    data = first + b"".join(rest)
    assert made.exchange(peer, len(data)) == data


def test_sends_while_something_is_staged_come_after_it(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    data = made.clog(handle, 1_000_000)
    for n in range(10):
        made.backend.send(handle, b"%d" % n * 1000)
        data += b"%d" % n * 1000
        made.turn()
    assert made.exchange(peer, len(data)) == data
    assert made.staged(handle) == 0


def test_staged_is_what_the_peer_and_the_kernel_do_not_have(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(handle, 1_000_000)
    before = made.staged(handle)
    assert 0 < before < 1_000_000
    made.backend.send(handle, b"x" * 1000)
    made.turn()
    # The sockets may take a little more, but not all of it.
    assert 1000 < made.staged(handle) <= before + 1000
    made.exchange(peer, 1_001_000)
    made.turn()
    assert made.staged(handle) == 0


def test_staged_counts_each_index_for_itself(made: Rig) -> None:
    idle, _ = made.pair()
    clogged, _ = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(clogged, 1_000_000)
    assert made.staged(idle) == 0


def test_staged_is_zero_for_the_next_of_an_index(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(handle, 1_000_000)
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)
    peer.close()
    fresh, _ = made.pair()
    made.turn()
    assert made.staged(fresh) == 0


def test_drained_is_said_at_once_where_nothing_is_staged(made: Rig) -> None:
    handle, _ = made.pair()
    made.backend.notify(handle)
    made.turn(5.0)
    assert made.of(handle) == [(DRAINED, 0, 0)]
    made.settle()
    assert made.of(handle) == [(DRAINED, 0, 0)]


def test_drained_waits_for_the_last_byte(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(handle, 1_000_000)
    made.backend.notify(handle)
    made.settle()
    assert made.of(handle) == []
    made.exchange(peer, 1_000_000)
    made.until(handle, DRAINED)
    assert made.staged(handle) == 0
    made.settle()
    assert made.of(handle) == [(DRAINED, 0, 0)]


def test_each_notify_is_answered(made: Rig) -> None:
    handle, _ = made.pair()
    for _ in range(3):
        made.backend.notify(handle)
        made.turn(5.0)
    assert made.of(handle) == [(DRAINED, 0, 0)] * 3


def test_an_empty_send_sends_nothing(made: Rig) -> None:
    handle, peer = made.pair()
    made.backend.send(handle, b"")
    made.backend.send(handle, b"a")
    made.backend.send(handle, b"")
    made.backend.shutdown(handle)
    assert made.read_to_end(peer) == b"a"
    assert made.kinds(handle) == [SHUT]


def test_the_bytes_may_be_forgotten_by_the_caller(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.backend.send(handle, bytes(bytearray(pattern(2_000_000))))
    made.settle()
    _junk = [bytes(2_000_000) for _ in range(5)]
    assert made.exchange(peer, 2_000_000) == pattern(2_000_000)


def test_our_end_comes_after_what_is_staged_and_reading_goes_on(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    data = made.clog(handle, 500_000)
    made.backend.shutdown(handle)
    made.settle()
    assert made.of(handle) == []
    assert made.read_to_end(peer) == data
    made.until(handle, SHUT)
    peer.setblocking(True)
    peer.sendall(b"I heard you")
    made.pump(lambda: made.received[handle] == b"I heard you")
    assert made.of(handle) == [(SHUT, 0, 0), (DATA, 0, 0)]


def test_a_second_shutdown_and_sends_after_it_do_nothing(made: Rig) -> None:
    handle, peer = made.pair()
    made.backend.shutdown(handle)
    made.backend.send(handle, b"too late")
    made.backend.shutdown(handle)
    made.until(handle, SHUT)
    made.backend.send(handle, b"far too late")
    made.backend.shutdown(handle)
    assert made.read_to_end(peer) == b""
    made.settle()
    assert made.of(handle) == [(SHUT, 0, 0)]
    assert made.staged(handle) == 0


def test_a_reset_while_sending_is_an_error_and_the_rest_counts_as_lost(made: Rig) -> None:
    handle, peer = made.pair(sndbuf=4096, rcvbuf=4096)
    made.clog(handle, 1_000_000)
    lost = made.staged(handle)
    reset(peer)
    error, _ = made.until(handle, ERROR)
    made.backend.send(handle, b"y" * 500)
    made.settle()
    # The kernel tells the error to one call only: if that was a send, reading finds a plain end.
    assert made.kinds(handle) in ([ERROR], [EOF, ERROR])
    made.backend.close(handle, NOW)
    a, b = made.until(handle, CLOSED)
    assert made.of(handle)[-2:] == [(ERROR, error, 0), (CLOSED, a, error)]
    assert (500 < a <= lost + 500, b) == (True, error)


def test_a_send_to_a_peer_that_is_gone_is_an_error_and_no_signal(made: Rig) -> None:
    handle, peer = made.pair()
    peer.close()
    made.backend.pause(handle)
    made.turn()

    def failed() -> bool:
        made.backend.send(handle, b"anybody there?")
        return made.has(handle, ERROR)

    made.pump(failed)
    made.backend.close(handle, NOW)
    made.until(handle, CLOSED)
    assert made.kinds(handle)[-2:] == [ERROR, CLOSED]


def test_both_directions_at_once(made: Rig) -> None:
    ours, theirs = socket.socketpair()
    a, b = made.adopt(ours), made.adopt(theirs)
    data = pattern(1_000_000)
    made.backend.send(a, data)
    made.backend.send(b, data[::-1])
    made.pump(lambda: len(made.received[a]) == len(made.received[b]) == len(data))
    assert made.received[b] == data
    assert made.received[a] == data[::-1]


def test_counters_are_those_of_the_handle(made: Rig) -> None:
    """Also before its first turn: an index that is used again begins with nothing."""
    for _ in range(3):
        handle, peer = made.pair()
        assert made.backend.sent[handle & INDEX_MASK] == 0
        made.backend.send(handle, bytes(1000))
        made.pump(lambda: made.backend.sent[handle & INDEX_MASK] == 1000)  # noqa: B023
        peer.close()
        close_all(made, [handle])
        assert made.backend.sent[handle & INDEX_MASK] == 0
        assert made.staged(handle) == 0
