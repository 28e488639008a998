"""The contract: the order of events, and exactly one final event (rules 3 to 6)."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from contract_tools import Rig, close_all, pattern, reset, tcp_pair
from ringnet.completion import (
    CLOSED,
    DATA,
    DRAINED,
    EOF,
    ERROR,
    GRACEFUL,
    INDEX_BITS,
    NOW,
    RESET,
    SHUT,
)


def test_data_comes_in_the_order_of_the_bytes(made: Rig) -> None:
    handle, peer = made.pair()
    data = pattern(300_000)
    peer.setblocking(False)
    sent = 0

    def arrived() -> bool:
        nonlocal sent
        if sent < len(data):
            try:
                sent += peer.send(data[sent:])
            except BlockingIOError:
                pass
        return len(made.received[handle]) == len(data)

    made.pump(arrived)
    assert made.received[handle] == data
    assert made.kinds(handle) == [DATA]


def test_data_comes_before_the_end_of_the_stream(made: Rig) -> None:
    handle, peer = made.pair()
    peer.sendall(b"last words")
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    made.settle()
    assert made.received[handle] == b"last words"
    assert made.of(handle) == [(DATA, 0, 0), (EOF, 0, 0)]


def test_the_end_of_the_stream_is_said_once_and_writing_goes_on(made: Rig) -> None:
    handle, peer = made.pair()
    peer.shutdown(socket.SHUT_WR)
    made.until(handle, EOF)
    made.backend.send(handle, b"still here")
    assert made.exchange(peer, 10) == b"still here"
    made.settle()
    assert made.of(handle) == [(EOF, 0, 0)]


def test_a_stream_ends_with_one_closed(made: Rig) -> None:
    handle, peer = made.pair()
    peer.close()
    made.until(handle, EOF)
    made.backend.close(handle, GRACEFUL)
    made.until(handle, CLOSED)
    made.settle()
    assert made.of(handle) == [(EOF, 0, 0), (CLOSED, 0, 0)]


def test_verbs_take_effect_in_the_order_of_the_calls(made: Rig) -> None:
    handle, peer = made.pair()
    for word in (b"one ", b"two ", b"three ", b"four"):
        made.backend.send(handle, word)
    made.backend.notify(handle)
    made.backend.shutdown(handle)
    assert made.read_to_end(peer) == b"one two three four"
    made.until(handle, SHUT)
    assert made.of(handle) == [(DRAINED, 0, 0), (SHUT, 0, 0)]


def test_nothing_happens_before_the_turn(made: Rig) -> None:
    handle, peer = made.pair()
    made.turn()
    made.backend.send(handle, b"x")
    peer.setblocking(False)
    with pytest.raises(BlockingIOError):
        peer.recv(1)
    assert made.exchange(peer, 1) == b"x"


def test_an_error_does_not_end_the_handle(made: Rig) -> None:
    handle, peer = made.pair()
    made.turn()
    reset(peer)
    a, b = made.until(handle, ERROR)
    assert (a < 0, b) == (True, 0)
    made.settle()
    assert made.kinds(handle) == [ERROR]
    made.backend.close(handle, GRACEFUL)
    made.until(handle, CLOSED)
    assert made.of(handle) == [(ERROR, a, 0), (CLOSED, 0, a)]


@pytest.mark.parametrize("mode", [GRACEFUL, NOW, RESET])
def test_verbs_after_the_final_event_do_nothing(made: Rig, mode: int) -> None:
    handle, peer = made.pair()
    peer.close()
    made.until(handle, EOF)
    made.backend.close(handle, mode)
    made.until(handle, CLOSED)
    use_every_verb(made, handle)
    made.settle()
    assert made.of(handle) == [(EOF, 0, 0), (CLOSED, 0, 0)]


def use_every_verb(made: Rig, handle: int) -> None:
    made.backend.send(handle, b"to nobody")
    made.backend.notify(handle)
    made.backend.pause(handle)
    made.backend.resume(handle)
    made.backend.shutdown(handle)
    made.backend.close(handle, GRACEFUL)
    made.backend.close(handle, NOW)


def test_verbs_of_a_past_generation_do_not_touch_the_next(made: Rig) -> None:
    old, peer = made.pair()
    close_all(made, [old])
    peer.close()
    new, peer = made.pair()
    assert new & ((1 << INDEX_BITS) - 1) == old & ((1 << INDEX_BITS) - 1)
    use_every_verb(made, old)
    peer.sendall(b"hello")
    made.pump(lambda: made.received[new] == b"hello")
    use_every_verb(made, old)
    made.backend.send(new, b"world")
    assert made.exchange(peer, 5) == b"world"
    made.settle()
    assert made.kinds(new) == [DATA]
    assert made.kinds(old) == [CLOSED]


def test_verbs_of_a_handle_that_never_was_do_nothing(made: Rig) -> None:
    use_every_verb(made, made.new_handle())
    assert made.turn(0.0) == []


def test_an_index_is_used_again_and_again(made: Rig) -> None:
    handles = []
    for _ in range(50):
        handle, peer = made.pair()
        peer.sendall(b"%x" % handle)
        made.pump(lambda: len(made.received[handle]) == len(b"%x" % handle))  # noqa: B023
        close_all(made, [handle])
        peer.close()
        handles.append(handle)
    assert len({handle & ((1 << INDEX_BITS) - 1) for handle in handles}) == 1
    for handle in handles:
        assert made.received[handle] == b"%x" % handle
        assert made.kinds(handle) == [DATA, CLOSED]


def test_closed_and_started_in_the_same_turn_do_not_mix(make_rig: Callable[..., Rig]) -> None:
    # The new connections probably get the descriptor numbers of the old.
    made = make_rig()
    old = [made.pair() for _ in range(20)]
    made.turn()
    for handle, peer in old:
        peer.sendall(b"old")
        made.backend.close(handle, NOW)
    fresh = [tcp_pair() for _ in range(20)]
    made.turn()
    made.peers += [peer for _, peer in fresh]
    new = [(made.adopt(ours), peer) for ours, peer in fresh]
    for handle, peer in new:
        peer.sendall(b"new %d" % handle)
    made.pump(lambda: all(made.received[h] == b"new %d" % h for h, _ in new))
    made.pump(lambda: all(made.has(h, CLOSED) for h, _ in old))
    for handle, _ in old:
        assert made.kinds(handle) == [CLOSED]


def test_a_programmers_mistakes_raise_at_the_call(make_rig: Callable[..., Rig]) -> None:
    made = make_rig(slots=4)
    handle, _ = made.pair()
    made.turn()
    with pytest.raises(ValueError, match="in use"):
        made.backend.adopt(handle + (1 << INDEX_BITS), 0)
    with pytest.raises(ValueError, match="out of range"):
        made.backend.adopt(1 << INDEX_BITS | 4, 0)
    with pytest.raises(ValueError, match="out of range"):
        made.backend.adopt(3, 0)  # generation 0 names nothing
    with pytest.raises(ValueError, match="close mode"):
        made.backend.close(handle, 3)
