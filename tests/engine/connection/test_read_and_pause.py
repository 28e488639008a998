"""Reading and pausing in turn, as a proxy does, takes no fresh memory for each event."""

from __future__ import annotations

import random
import resource
import tracemalloc
from collections.abc import Callable

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    USES_MALLOC,
    WAIT,
    Recorder,
    dial,
    on_loop,
    receive,
    send_all_aside,
    served,
    until,
)
from ringnet.engine.buffers.leftovers import KEPT_WHOLE_FROM, Leftovers
from ringnet.engine.buffers.ring_buffer import RingBuffer

MIB = 1 << 20
SENT = 48 * MIB
PAGES = SENT // 4096
needs_thread_usage = pytest.mark.skipif(
    not hasattr(resource, "RUSAGE_THREAD"), reason="page faults of one thread are Linux's"
)


class Taker(Recorder):
    """Takes what is there, pauses, and goes on in the next turn."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def on_traffic(self, conn: ringnet.Connection) -> None:
        self.count += len(conn.next())
        conn.pause_reading()
        conn.loop.execute(conn.resume_reading)


class Bridge(Recorder):
    """Passes on what arrives, with flow control: both ends are connections of this reactor."""

    def __init__(self, target: str) -> None:
        super().__init__()
        self.target = target

    def on_open(self, conn: ringnet.Connection) -> None:
        if conn.listener is not None:
            conn.pause_reading()
            done = conn.loop.register(self.target, context=conn)
            done.add_done_callback(lambda done: self.join(conn, done.result()))

    @staticmethod
    def join(conn: ringnet.Connection, other: ringnet.Connection) -> None:
        conn.context = other
        conn.resume_reading()

    def on_traffic(self, conn: ringnet.Connection) -> None:
        conn.context.write(conn.next())
        if not conn.context.is_writable:
            conn.pause_reading()

    def on_writable(self, conn: ringnet.Connection) -> None:
        conn.context.resume_reading()


def faults_of(engine: ringnet.Engine, work: Callable[[], None]) -> int:
    """Page faults of the reactor's thread meanwhile."""

    def asked() -> int:
        return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt

    (loop,) = engine.reactors
    before: int = on_loop(loop, asked)
    work()
    after: int = on_loop(loop, asked)
    return after - before


@needs_thread_usage
@USES_MALLOC
@pytest.mark.parametrize("backend", BACKENDS)
def test_taking_and_pausing_in_turn(backend: str) -> None:
    handler = Taker()
    with served(backend, handler) as engine, dial(engine) as client:

        def send(size: int) -> None:
            goal = handler.count + size
            client.sendall(bytes(size))
            until(lambda: handler.count == goal)

        send(8 * MIB)  # the heap grows once
        faults = faults_of(engine, lambda: send(SENT))
        assert engine.buffered == 0
    assert faults < PAGES // 8, f"{faults} page faults for {PAGES} pages of bytes"


@needs_thread_usage
@USES_MALLOC
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_bulk_transfer_through_a_bridge(backend: str) -> None:
    with (
        served(backend, Recorder()) as echo,
        served(backend, Bridge(echo.addresses[0])) as engine,
        dial(engine) as client,
    ):

        def pass_on(size: int) -> None:
            data = random.Random(size).randbytes(size)
            sender = send_all_aside(client, data)
            assert receive(client, size) == data
            sender.join(WAIT)

        pass_on(8 * MIB)
        faults = faults_of(engine, lambda: pass_on(SENT))
    assert faults < PAGES // 4, f"{faults} page faults for {2 * PAGES} pages of bytes"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("size", "kind"), [(KEPT_WHOLE_FROM, Leftovers), (KEPT_WHOLE_FROM - 1, RingBuffer)]
)
def test_a_large_chunk_is_kept_as_it_is_and_a_small_one_is_copied(
    backend: str, size: int, kind: type
) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, dial(engine):
        conn = handler.expect("open")

        def arrive() -> type:
            conn.pause_reading()
            conn._put(bytes(size))  # as one chunk, however the network would have cut it
            conn._check_inbound(size)
            return type(conn._inbound)

        assert on_loop(conn.loop, arrive) is kind
        assert engine.buffered == size


SIZES = (1, 7, 900, KEPT_WHOLE_FROM - 1, KEPT_WHOLE_FROM, 3 * KEPT_WHOLE_FROM + 5)


@pytest.mark.parametrize("seed", range(40))
def test_leftovers_are_bytes_in_a_row(seed: int) -> None:
    """Whatever is kept and taken in whatever order, beside a bytearray that does the same."""
    chance = random.Random(seed)
    kept, model = Leftovers(), bytearray()
    if chance.random() < 0.5:
        ring = RingBuffer(b"in the ring")
        kept.take_over(ring)
        model += b"in the ring"
    for _ in range(300):
        data = chance.randbytes(chance.choice(SIZES))
        if chance.random() < 0.4:
            (kept.refer if len(data) >= KEPT_WHOLE_FROM else kept.write)(data)
            model += data
        count = min(len(model), chance.choice(SIZES))
        assert kept.peek(count) == model[:count]
        if chance.random() < 0.5:
            assert kept.next(count) == model[:count]
        else:
            assert kept.discard(count) == count
        del model[:count]
        assert len(kept) == len(model)
    assert kept.next() == model
    assert len(kept) == 0


def test_a_large_piece_is_given_out_as_it_was_kept() -> None:
    kept, piece = Leftovers(), bytes(KEPT_WHOLE_FROM)
    kept.refer(piece)
    assert kept.next() is piece


def test_a_little_of_a_large_piece_does_not_keep_all_of_it() -> None:
    """What is counted is what is kept, up to a factor."""
    tracemalloc.start()
    try:
        many = [Leftovers() for _ in range(50)]
        for kept in many:
            kept.refer(random.randbytes(256 * 1024))
            kept.discard(256 * 1024 - 1)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert all(len(kept) == 1 for kept in many)
    assert held < 200_000


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kept_memory", [0, 1 * MIB, 16 * MIB])
def test_what_came_while_paused_is_read_in_order_and_counted(
    backend: str, kept_memory: int
) -> None:
    """In every way to read it, whether it is referred to or copied."""

    class Sleeper(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.pause_reading()

    handler = Sleeper()
    data = random.Random(3).randbytes(4 * MIB)
    with (
        served(backend, handler, kept_memory=kept_memory) as engine,
        dial(engine) as client,
    ):
        sender = send_all_aside(client, data)
        conn = handler.expect("open")
        got = bytearray()

        def take() -> None:
            before = conn.inbound_buffered
            assert engine.buffered == before
            for size in (1, 3, 1000, 70_000):
                size = min(size, conn.inbound_buffered)
                seen = conn.peek(size)
                room = bytearray(size // 2)
                assert conn.readinto(room) == size // 2
                got.extend(room)
                got.extend(conn.next(size - size // 2))
                assert got[len(got) - size :] == seen
                before -= size
                assert conn.inbound_buffered == engine.buffered == before
            if len(got) % 2:
                got.extend(conn.next())
                assert engine.buffered == 0
            conn.resume_reading()

        def took_all() -> bool:
            on_loop(conn.loop, take)
            return len(got) == len(data)

        until(took_all)
        sender.join(WAIT)
        assert got == data
        assert engine.buffered == 0
