"""The contract: polls, wake-ups, timeouts and the end of a backend (rules 1 to 3)."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from errno import EMFILE
from threading import Event as Flag
from threading import Thread
from time import monotonic

import pytest
from contract_tools import Rig, count_descriptors, rig, tcp_pair
from ringnet.completion import (
    CLOSED,
    DATA,
    GRACEFUL,
    HUNG_UP,
    NOW,
    READABLE,
    READY,
    WOKEN,
    WRITABLE,
)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            assert fd == writer  # a test has closed it


def test_a_poll_is_ready_once(made: Rig, pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    handle = made.new_handle()
    made.backend.poll(handle, reader, READABLE)
    made.settle()
    assert made.of(handle) == []
    os.write(writer, b"x")
    made.until(handle, READY)
    made.settle()
    assert made.of(handle) == [(READY, READABLE, 0)]
    assert os.read(reader, 10) == b"x"  # the descriptor stays the caller's


def test_a_poll_for_writing_is_ready_at_once(made: Rig, pipe: tuple[int, int]) -> None:
    handle = made.new_handle()
    made.backend.poll(handle, pipe[1], WRITABLE)
    assert made.until(handle, READY) == (WRITABLE, 0)


def test_a_poll_of_a_pipe_whose_writer_is_gone(made: Rig, pipe: tuple[int, int]) -> None:
    handle = made.new_handle()
    made.backend.poll(handle, pipe[0], READABLE)
    made.turn()
    os.close(pipe[1])
    mask, _ = made.until(handle, READY)
    assert mask & (READABLE | HUNG_UP)


@pytest.mark.parametrize("mode", [GRACEFUL, NOW])
def test_a_poll_that_is_closed_first(made: Rig, pipe: tuple[int, int], mode: int) -> None:
    handle = made.new_handle()
    made.backend.poll(handle, pipe[0], READABLE)
    made.turn()
    made.backend.close(handle, mode)
    made.until(handle, CLOSED)
    os.write(pipe[1], b"x")
    made.settle()
    assert made.of(handle) == [(CLOSED, 0, 0)]
    assert os.read(pipe[0], 10) == b"x"


def test_polls_of_one_descriptor_one_after_the_other(made: Rig, pipe: tuple[int, int]) -> None:
    os.write(pipe[1], b"x")
    for _ in range(20):
        handle = made.new_handle()
        made.backend.poll(handle, pipe[0], READABLE)
        made.until(handle, READY)
        assert made.of(handle) == [(READY, READABLE, 0)]


def test_two_polls_of_one_descriptor(made: Rig) -> None:
    ours, peer = tcp_pair()
    made.peers += [ours, peer]
    reads, writes = made.new_handle(), made.new_handle()
    made.backend.poll(reads, ours.fileno(), READABLE)
    made.backend.poll(writes, ours.fileno(), WRITABLE)
    made.until(writes, READY)
    assert made.of(reads) == []
    peer.sendall(b"x")
    made.until(reads, READY)
    assert made.of(reads) == [(READY, READABLE, 0)]
    assert made.of(writes) == [(READY, WRITABLE, 0)]


def test_polls_of_one_descriptor_where_there_is_none_for_the_second(
    made: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """io_uring needs none; else the poll ends with the error, and nothing beside it."""

    def no_more(fd: int) -> int:
        raise OSError(EMFILE, os.strerror(EMFILE))

    ours, peer = tcp_pair()
    made.peers += [ours, peer]
    polls = [made.new_handle() for _ in range(3)]
    monkeypatch.setattr(os, "dup", no_more)
    for handle in polls:
        made.backend.poll(handle, ours.fileno(), READABLE)
    made.turn(0.0)
    peer.sendall(b"x")
    made.until(polls[0], READY)
    made.pump(lambda: all(made.of(handle) for handle in polls))
    has_own = made.backend.name == "io_uring"
    ends = [(READY, READABLE, 0)] if has_own else [(CLOSED, 0, -EMFILE)]
    assert [made.of(handle) for handle in polls[1:]] == [ends, ends]


def test_a_poll_of_the_descriptor_of_a_stream_that_is_paused(made: Rig) -> None:
    stream, peer = made.pair()
    made.backend.pause(stream)
    made.turn()
    polled = made.new_handle()
    made.backend.poll(polled, made.fds[stream], READABLE)
    made.turn()
    made.backend.resume(stream)
    peer.sendall(b"x")
    made.pump(lambda: made.received[stream] == b"x")
    made.backend.close(polled, NOW)  # the stream may have taken what the poll waits for
    made.pump(lambda: made.has(polled, READY) or made.has(polled, CLOSED))
    assert made.kinds(polled) in ([READY], [CLOSED])
    assert made.of(stream) == [(DATA, 0, 0)]


def test_a_poll_of_no_descriptor_ends_with_the_error(made: Rig, pipe: tuple[int, int]) -> None:
    closed = os.dup(pipe[0])
    os.close(closed)
    handle = made.new_handle()
    made.backend.poll(handle, closed, READABLE)
    a, b = made.until(handle, CLOSED)
    assert (a, b < 0) == (0, True)
    assert made.kinds(handle) == [CLOSED]


def test_a_wake_before_the_turn_is_not_lost(made: Rig) -> None:
    for _ in range(100):
        made.backend.wake()
        assert made.turn(None) == [(0, WOKEN, 0, 0)]
    assert made.turn(0.0) == []


def test_wakes_until_the_reactor_looks_are_one(made: Rig) -> None:
    for _ in range(10_000):
        made.backend.wake()
    assert made.turn(None) == [(0, WOKEN, 0, 0)]
    made.settle()
    assert made.said == [(0, WOKEN, 0, 0)]


def test_a_wake_ends_a_turn_without_timeout(made: Rig) -> None:
    waits = Flag()

    def wake_soon() -> None:
        assert waits.wait(10)
        made.backend.wake()

    thread = Thread(target=wake_soon)
    thread.start()
    waits.set()
    assert made.turn(None) == [(0, WOKEN, 0, 0)]
    thread.join()


def test_eight_threads_that_wake(made: Rig) -> None:
    handle, peer = made.pair()
    done: list[int] = []

    def wake_often() -> None:
        for _ in range(3_000):
            made.backend.wake()
        done.append(1)
        made.backend.wake()

    threads = [Thread(target=wake_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(done) < 8:  # the last wake of each thread comes after its mark
        made.turn(None)
    for thread in threads:
        thread.join()
    made.settle()
    assert {event[1] for event in made.said} == {WOKEN}
    made.backend.wake()
    assert made.turn(None) == [(0, WOKEN, 0, 0)]
    peer.sendall(b"still fine")
    made.until(handle, DATA)


def test_a_turn_takes_as_long_as_it_may(made: Rig) -> None:
    made.turn()
    for timeout in (0.0, 0.01, 0.1):
        start = monotonic()
        assert made.turn(timeout) == []
        assert timeout - 0.001 <= monotonic() - start < timeout + 2


def test_a_turn_ends_with_the_first_event(made: Rig) -> None:
    handle, peer = made.pair()
    made.turn()
    peer.sendall(b"x")
    start = monotonic()
    while not made.said:  # a turn may give none
        made.turn(10)
    assert monotonic() - start < 5
    assert made.kinds(handle) == [DATA]


def test_staged_can_be_read_before_anything_was_started(made: Rig) -> None:
    assert made.backend.staged[0] == 0
    assert made.backend.staged[made.backend.capacity - 1] == 0


def test_dispose_closes_everything(backend_name: str) -> None:
    before = count_descriptors()
    with rig(backend_name) as made:
        made.listen()
        handles = [made.pair(sndbuf=4096, rcvbuf=4096)[0] for _ in range(10)]
        made.clog(handles[0], 1_000_000)
        made.clog(handles[1], 1_000_000)
        made.backend.close(handles[1], GRACEFUL)
        made.backend.close(handles[2], GRACEFUL)
        with socket.socket() as polled:
            made.backend.poll(made.new_handle(), polled.fileno(), READABLE)
            made.turn(0.01)
            made.backend.dispose()
            polled.getsockname()  # still open: it is not the backend's
    assert count_descriptors() == before
    made.backend.dispose()  # once more does nothing


def test_one_backend_wakes_another(made: Rig, make_rig: Callable[..., Rig]) -> None:
    other = make_rig()
    other.turn()
    for _ in range(3):
        made.backend.wake_other(other.backend)
        made.turn()
        other.forget()
        other.pump(lambda: other.has(0, WOKEN))
        assert list(other.turn()) == []
    assert made.said == []
