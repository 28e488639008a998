"""The contract: what a caller gets wrong costs its own handle at most (rules 2 and 3)."""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Callable
from errno import EBADF, EINVAL, EMFILE
from typing import Any

import pytest
from contract_tools import Rig, close_all, make_backend, pack4, tcp_pair
from ringnet.completion import (
    CLOSED,
    CONNECTED,
    DATAGRAM,
    ERROR,
    INDEX_BITS,
    NAME_ROOM,
    NOW,
    READABLE,
    REFUSED,
    WRITABLE,
    Bounds,
)

NO_BYTES = [
    array("q", range(100)),
    bytearray(800),
    memoryview(bytes(800)),
    "text",
    None,
    17,
    [b"x"],
]


def udp() -> tuple[socket.socket, tuple[str, int]]:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()


def still_works(made: Rig) -> bool:
    """A new stream gets and sends."""
    handle, peer = made.pair()
    peer.sendall(b"hello")
    made.pump(lambda: made.received[handle] == b"hello")
    made.backend.send(handle, b"yes")
    return made.exchange(peer, 3) == b"yes"


@pytest.mark.parametrize("wrong", NO_BYTES, ids=lambda value: type(value).__name__)
def test_what_is_no_bytes_raises_at_the_call(made: Rig, wrong: Any) -> None:
    """Also where it has a length and a buffer: that need not count bytes."""
    stream, _ = made.pair()
    sock, where = udp()
    packets = made.adopt_packets(sock)
    unused = made.new_handle()
    made.turn()
    for call in (
        lambda: made.backend.send(stream, wrong),
        lambda: made.backend.send_to(packets, wrong, pack4(where)),
        lambda: made.backend.send_to(packets, b"x", wrong),
        lambda: made.backend.connect(unused, 0, wrong),
    ):
        with pytest.raises(TypeError, match=type(wrong).__name__):
            call()
    assert still_works(made)
    made.backend.send_to(packets, b"right", pack4(where))
    made.until(packets, DATAGRAM)
    assert made.kinds(packets) == [DATAGRAM]
    assert made.packets[packets][0][0] == b"right"


@pytest.mark.parametrize(
    "address",
    [
        bytes(NAME_ROOM + 1),
        pack4(("127.0.0.1", 9)) + bytes(NAME_ROOM),
        bytes(70_000),
        b"\2",
        pack4(("127.0.0.1", 9))[:5],
        b"\xff" * 16,
    ],
    ids=["zeros", "long", "longer", "one byte", "cut", "no family"],
)
def test_a_packet_to_an_address_that_is_none_is_refused(made: Rig, address: bytes) -> None:
    """The others around it leave."""
    sock, where = udp()
    handle = made.adopt_packets(sock)
    made.turn()
    made.backend.send_to(handle, b"before", pack4(where))
    made.backend.send_to(handle, b"lost", address)
    made.backend.send_to(handle, b"behind", pack4(where))
    made.pump(lambda: len(made.packets[handle]) == 2 and made.has(handle, REFUSED))
    assert {data for data, _ in made.packets[handle]} == {b"before", b"behind"}
    refused = [a for kind, a, _ in made.of(handle) if kind == REFUSED]
    assert len(refused) == 1
    assert refused[0] < 0
    assert made.staged(handle) == 0
    assert still_works(made)
    close_all(made, [handle])


@pytest.mark.parametrize(
    "address",
    [b"", b"\2", bytes(NAME_ROOM + 1), pack4(("127.0.0.1", 9)) + bytes(NAME_ROOM), b"\2\0\0"],
    ids=["empty", "one byte", "zeros", "long", "cut"],
)
def test_connecting_to_an_address_that_is_none_is_an_error(made: Rig, address: bytes) -> None:
    handle = made.connect(socket.AF_INET, address)
    a, _ = made.until(handle, ERROR)
    assert a == -EINVAL
    made.backend.send(handle, b"never")
    close_all(made, [handle])
    assert made.kinds(handle) == [ERROR, CLOSED]
    assert not made.has(handle, CONNECTED)
    assert still_works(made)


def test_starting_an_index_twice_in_a_turn_raises_at_the_second(made: Rig) -> None:
    handle, peer = made.pair()
    with pytest.raises(ValueError, match="in use"):
        made.backend.adopt(handle + (1 << INDEX_BITS), 0)
    with pytest.raises(ValueError, match="in use"):
        made.backend.poll(handle, 0, 1)
    peer.sendall(b"first")
    made.pump(lambda: made.received[handle] == b"first")
    close_all(made, [handle])
    made.backend.adopt(handle + (1 << INDEX_BITS), os.dup(peer.fileno()))
    made.backend.close(handle + (1 << INDEX_BITS), NOW)
    made.until(handle + (1 << INDEX_BITS), CLOSED)


@pytest.mark.parametrize("start", ["adopt", "listen", "adopt_packets", "connect", "poll"])
@pytest.mark.parametrize("fd", [-1, 1_000_000, 1 << 40, "a live one, in the lower bits"])
def test_a_descriptor_that_is_none_is_the_error_of_its_handle(
    made: Rig, start: str, fd: int | str
) -> None:
    live, peer = tcp_pair()
    with live, peer:
        number = fd if isinstance(fd, int) else 1 << 32 | live.fileno()
        handle = made.new_handle()
        extra = {"connect": (pack4(("127.0.0.1", 9)),), "poll": (READABLE | WRITABLE,)}
        getattr(made.backend, start)(handle, number, *extra.get(start, ()))
        if start == "poll":
            # select watches no number of 1,024 or more.
            assert made.until(handle, CLOSED) in [(0, -EBADF), (0, -EMFILE)]
        else:
            assert made.until(handle, ERROR) == (-EBADF, 0)
            close_all(made, [handle])
        assert still_works(made)
        live.sendall(b"nobody else has it")
        assert peer.recv(20) == b"nobody else has it"


@pytest.mark.parametrize("seconds", [1e6, 1e10, 1e30, float("inf")])
def test_a_very_long_wait_ends_with_an_event(made: Rig, seconds: float) -> None:
    handle, peer = made.pair()
    peer.sendall(b"x")
    while not made.received[handle]:
        made.turn(seconds)
    made.backend.notify(handle)
    assert made.turn(seconds), "what was asked for is not lost"


def test_after_dispose_nothing_of_it_touches_others(backend_name: str) -> None:
    """The number of the eventfd may be a stranger's by then, and the memory somebody's."""
    backend = make_backend(backend_name, Bounds())
    memory = backend.memory
    backend.dispose()
    pipes = [os.pipe() for _ in range(8)]
    try:
        for _ in range(100):
            backend.wake()
        for reader, _ in pipes:
            os.set_blocking(reader, False)
            with pytest.raises(BlockingIOError):
                os.read(reader, 1)
        for held in (memory, backend.memory):
            assert held[0:100] in (bytes(100), b"")
    finally:
        for fds in pipes:
            for fd in fds:
                os.close(fd)
    backend.dispose()


@pytest.mark.parametrize("handles", [1, 300])
def test_dispose_ends_all_in_time_where_a_turn_has_few_events(
    make_rig: Callable[..., Rig], handles: int
) -> None:
    """The rig looks that no descriptor is left."""
    made = make_rig(events=1, slots=400)
    for _ in range(handles):
        made.pair()
    made.turn()


def test_sending_by_the_verb_of_another_kind_does_nothing(made: Rig) -> None:
    stream, peer = made.pair()
    sock, where = udp()
    sock.connect(where)  # to itself
    packets = made.adopt_packets(sock)
    listener, _ = made.listen()
    handles = [stream, packets, listener]
    made.turn()
    made.backend.send_to(stream, b"no")
    made.backend.send_to(listener, b"no")
    made.backend.send(packets, b"no")
    made.backend.send(listener, b"no")
    made.backend.send(stream, b"yes")
    made.backend.send_to(packets, b"yes")
    made.until(packets, DATAGRAM)
    assert made.exchange(peer, 3) == b"yes"
    assert [data for data, _ in made.packets[packets]] == [b"yes"]
    assert [made.staged(handle) for handle in handles] == [0, 0, 0]
    assert not made.has(listener, ERROR)
    close_all(made, handles)
