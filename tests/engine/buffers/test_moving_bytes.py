"""Methods that move bytes to or from files: what is refused is neither lost nor doubled."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from contract_tools import pattern
from engine_tools import BACKENDS, Recorder, dial, on_loop, receive, served, until
from ringnet.engine.buffers.buffer import Buffer
from ringnet.engine.buffers.linked_buffer import LinkedBuffer
from ringnet.engine.buffers.mixed_buffer import MixedBuffer
from ringnet.engine.buffers.ring_buffer import RingBuffer

MIB = 1 << 20
BUFFERS = (RingBuffer, LinkedBuffer, MixedBuffer)


class Feeds(Recorder):
    """Sends a file to who asks, a bit whenever there is room."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self.file = file
        self.refused = 0

    def on_traffic(self, conn: ringnet.Connection) -> None:
        conn.next()
        self.feed(conn)

    def feed(self, conn: ringnet.Connection) -> None:
        try:
            while conn.read_from(self.file):
                pass
        except ringnet.BufferLimitExceeded:
            self.refused += 1
            conn.loop.schedule(0.001, lambda: self.feed(conn))
            return
        conn.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "bound",
    [
        {"max_outbound": MIB},
        {"max_outbound": 100_001},
        {"max_buffered": 2 * MIB, "high_water": 65_536},
    ],
)
def test_a_file_larger_than_what_may_wait(backend: str, bound: dict[str, int]) -> None:
    data = pattern(8 * MIB)
    handler = Feeds(io.BytesIO(data))
    with served(backend, handler, socket_send_buffer=65_536, **bound) as engine:
        with dial(engine) as client:
            client.sendall(b"x")
            until(lambda: handler.refused)
            assert receive(client, len(data) + 1) == data
        assert handler.refused


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_is_read_where_nothing_may_be_written(backend: str) -> None:
    handler = Recorder()
    options = {"max_outbound": MIB, "socket_send_buffer": 65_536}
    with served(backend, handler, **options) as engine, dial(engine):
        conn = handler.expect("open")
        file = io.BytesIO(bytes(40 * MIB))
        parts = iter([b"one", b"two"])

        def fill() -> int:
            total = 0
            while True:
                try:
                    total += conn.read_from(file)
                except ringnet.BufferLimitExceeded:
                    return total

        quiet = 0
        while quiet < 3:  # until the sockets hold all they can
            quiet = 0 if on_loop(conn.loop, fill) else quiet + 1
        total = file.tell()
        assert MIB <= total < 40 * MIB
        for use in (lambda: conn.read_from(file), lambda: conn.writev(parts)):
            with pytest.raises(ringnet.BufferLimitExceeded):
                on_loop(conn.loop, use)
        on_loop(conn.loop, conn.shutdown_write)
        for use in (lambda: conn.read_from(file), lambda: conn.writev(parts)):
            with pytest.raises(ringnet.ConnectionClosed):
                on_loop(conn.loop, use)
        on_loop(conn.loop, conn.close_now)
        with pytest.raises(ringnet.ConnectionClosed):
            on_loop(conn.loop, lambda: conn.read_from(file))
        assert file.tell() == total
        assert list(parts) == [b"one", b"two"]


class Sink:
    """A file that takes what `takes` says of each write: a number, None, or an error."""

    def __init__(self, *takes: Any) -> None:
        self.takes = list(takes)
        self.got = b""

    def write(self, data: bytes) -> int | None:
        take = self.takes.pop(0) if self.takes else len(data)
        if isinstance(take, OSError):
            self.got += data[: getattr(take, "characters_written", 0)]
            raise take
        self.got += data if take is None else data[:take]
        return take


class RawSink(Sink, io.RawIOBase):  # type: ignore[misc]
    def write(self, data: bytes) -> int | None:  # type: ignore[override]
        if self.takes and self.takes[0] is None:
            return self.takes.pop(0)
        return super().write(data)


def blocked(taken: int) -> BlockingIOError:
    return BlockingIOError(11, "not now", taken)


# What a file does, how often `write_to` is called, and what it then returns or raises each time.
SINKS: list[tuple[Callable[[], Sink], list[Any]]] = [
    (lambda: Sink(3, 4), [10]),
    (lambda: Sink(3, OSError(28, "full")), [OSError, 7]),
    (lambda: Sink(None), [10]),
    (lambda: Sink(3, blocked(2)), [10]),
    (lambda: Sink(blocked(0)), [0, 10]),
    (lambda: RawSink(3, None), [3, 7]),
    (lambda: RawSink(None), [0, 10]),
]


def move(write_to: Callable[[Sink], int], make: Callable[[], Sink], results: list[Any]) -> None:
    sink = make()
    for result in results:
        if isinstance(result, int):
            assert write_to(sink) == result
        else:
            with pytest.raises(result):
                write_to(sink)
    assert sink.got == b"0123456789"


@pytest.mark.parametrize(("make", "results"), SINKS)
@pytest.mark.parametrize("kind", BUFFERS)
def test_a_buffer_and_a_file_that_takes_less(
    kind: type[Buffer], make: Callable[[], Sink], results: list[Any]
) -> None:
    buffer = kind()
    for part in (b"0123", b"456", b"789"):
        buffer.write(part)
    move(buffer.write_to, make, results)
    assert len(buffer) == 0


@pytest.mark.parametrize(("make", "results"), SINKS)
@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_connection_and_a_file_that_takes_less(
    backend: str, kept: bool, make: Callable[[], Sink], results: list[Any]
) -> None:
    class Moves(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            if kept and conn.context is None:
                conn.context = "the second time it comes out of the leftovers"
                conn.wake()
                return
            if conn.inbound_buffered == 10:
                move(conn.write_to, make, results)
                self.seen.put(("left", conn.inbound_buffered))

    handler = Moves()
    with served(backend, handler) as engine, dial(engine) as client:
        client.sendall(b"0123456789")
        handler.expect("open")
        assert handler.expect("left") == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_pipe_that_is_full(backend: str) -> None:
    data = pattern(3 * MIB)
    handler = Recorder()
    handler.on_traffic = lambda conn: None  # type: ignore[method-assign]
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with served(backend, handler) as engine, dial(engine) as client:
        client.sendall(data)
        conn = handler.expect("open")
        until(lambda: on_loop(conn.loop, lambda: conn.inbound_buffered) == len(data))
        got = b""
        with open(writes, "wb", buffering=0) as file, open(reads, "rb", buffering=0) as pipe:
            while len(got) < len(data):
                moved = on_loop(conn.loop, lambda: conn.write_to(file))
                assert moved > 0
                got += b"".join(pipe.read(65_536) for _ in range(moved // 65_536))
                got += pipe.read(moved % 65_536) if moved % 65_536 else b""
        assert got == data


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_cannot_be_read_into_stays(backend: str) -> None:
    handler = Recorder()
    handler.on_traffic = lambda conn: None  # type: ignore[method-assign]
    with served(backend, handler) as engine, dial(engine) as client:
        client.sendall(b"0123456789")
        conn = handler.expect("open")
        until(lambda: on_loop(conn.loop, lambda: conn.inbound_buffered) == 10)
        for wrong in (b"read only", memoryview(bytearray(8))[::2]):
            with pytest.raises((TypeError, BufferError)):
                on_loop(conn.loop, lambda wrong=wrong: conn.readinto(wrong))
        assert on_loop(conn.loop, lambda: conn.readinto(bytearray(0))) == 0
        small = bytearray(3)
        assert on_loop(conn.loop, lambda: conn.readinto(small)) == 3
        words = memoryview(bytearray(8)).cast("I")
        assert on_loop(conn.loop, lambda: conn.readinto(words)) == 7
        assert bytes(small) + words.tobytes() == b"0123456789\0"


@pytest.mark.parametrize("kind", BUFFERS)
def test_a_bounded_buffer_reads_no_more_than_it_takes(kind: type[Buffer]) -> None:
    buffer = kind(limit=100_000)  # type: ignore[call-arg]
    data = pattern(230_001)
    file = io.BytesIO(data)
    got = b""
    for expected in (100_000, 100_000, 30_001, 0):
        assert buffer.read_from(file) == expected
        if expected == 100_000:
            with pytest.raises(ringnet.BufferLimitExceeded):
                buffer.read_from(file)
        got += buffer.next()
        assert file.tell() == len(got)
    assert got == data


@pytest.mark.parametrize("kind", BUFFERS)
def test_pieces_are_counted_in_bytes(kind: type[Buffer]) -> None:
    buffer = kind()
    words = memoryview(bytes(range(64))).cast("I")
    assert buffer.write(words) == 64  # type: ignore[arg-type]
    assert len(buffer) == 64
    assert buffer.next() == bytes(range(64))
    if isinstance(buffer, LinkedBuffer):
        assert buffer.write_front(words) == 64  # type: ignore[arg-type]
        assert buffer.next() == bytes(range(64))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["udp", "unixpacket"])
def test_a_packet_that_has_no_room_is_not_read(backend: str, kind: str, tmp_path: Any) -> None:
    address = "udp://127.0.0.1:0" if kind == "udp" else f"unixpacket://{tmp_path}/s"
    handler = Recorder()
    with (
        ringnet.Engine(Recorder(), address, backend=backend) as engine,
        ringnet.Client(handler, backend=backend) as client,
    ):
        conn = client.dial(engine.addresses[0])
        file = io.BytesIO(b"packet")
        on_loop(conn.loop, conn.close_now)
        with pytest.raises(ringnet.ConnectionClosed):
            on_loop(conn.loop, lambda: conn.read_from(file))
        assert file.tell() == 0
