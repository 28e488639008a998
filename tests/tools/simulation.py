"""The engine on simulated peers and a simulated clock: a seed is a run, and runs the same again.

    python tests/tools/simulation.py SEED           # one run, with what happened
    python tests/tools/simulation.py FIRST LAST     # many

Each run checks: every byte in its order, exactly one `on_close` after each `on_open`, and no slot,
buffer, timer of a connection, thread or descriptor left.
"""

from __future__ import annotations

import logging
import os
import random
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any
from unittest import mock

import ringnet
from ringnet.completion import Bounds
from ringnet.engine.base import logs, timers
from ringnet.engine.base.address import Address
from ringnet.engine.base.current import borrowed_thread
from ringnet.engine.connection import deadlines
from ringnet.engine.connection.listener import Listener
from ringnet.engine.connection.origin import Origin
from ringnet.engine.reactor.reactor import Reactor
from ringnet.engine.server.choose import Choice
from simulated_backend import SimulatedBackend
from simulated_peer import Clock, Peer


class Book:
    """What the engine's side did with one connection."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.read = bytearray()
        self.written = bytearray()
        self.cut = False  # by ourselves, on purpose
        self.closes = 0
        self.error: Exception | None = None


class Chaos(ringnet.EventHandler):
    """Does with its connections what comes to mind; keeps books."""

    def __init__(self, chance: random.Random, backend: SimulatedBackend) -> None:
        self.chance = chance
        self.backend = backend
        self.books: dict[ringnet.Connection, Book] = {}
        self.log: list[str] = []

    def note(self, conn: ringnet.Connection, what: str) -> None:
        self.log.append(f"{self.backend.clock.now:.4f} {conn._handle & 0xFFFFFF} {what}")

    def on_open(self, conn: ringnet.Connection) -> ringnet.Action | None:
        self.backend._take_outbox()
        for command in self.backend._commands:  # the peer is known when it is adopted
            if command[:2] == ("adopt", conn._handle):
                number = [c for c in self.backend._commands if c[0] == "adopt"].index(command)
                self.books[conn] = Book(self.backend._waiting[number])
        if conn not in self.books:
            peer = self.backend.slots[conn._handle].peer
            assert peer is not None
            self.books[conn] = Book(peer)
        self.note(conn, "open")
        return self.something(conn)

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        book = self.books[conn]
        count = self.chance.randrange(conn.inbound_buffered + 1)
        book.read += conn.next(count)
        self.note(conn, f"read {count}")
        return self.something(conn)

    def on_writable(self, conn: ringnet.Connection) -> None:
        assert conn.outbound_buffered <= conn._loop.options.low_water
        assert conn.is_writable

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action | None:
        self.note(conn, "end")
        if self.chance.random() < 0.6:
            return ringnet.Action.CLOSE
        conn.loop.schedule(1.0, conn.close)
        return self.something(conn)

    def on_drain(self, conn: ringnet.Connection) -> ringnet.Action | None:
        return self.chance.choice([ringnet.Action.CLOSE, None])

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
        self.note(conn, f"close {error!r}")
        late = self.backend.clock.now - self.books[conn].peer.told
        assert late < 2, f"the engine knew for {late:.1f} s that the stream was broken"
        self.books[conn].closes += 1
        self.books[conn].error = error
        for end in (conn.close, conn.close_now, conn.reset):
            end()  # does nothing any more
        for use in (conn.next, conn.resume_reading, conn.pause_reading):
            try:
                use()
            except ringnet.ConnectionClosed:
                continue
            raise AssertionError(f"{use} works after the end")

    def something(self, conn: ringnet.Connection) -> ringnet.Action | None:
        book, chance = self.books[conn], self.chance
        what = chance.randrange(24)
        if what < 9:
            self.write(conn, chance.randbytes(chance.choice([0, 1, 100, 3_000, 40_000])))
        elif what < 11:
            conn.pause_reading()
            conn.loop.schedule(chance.choice([0.0, 0.3]), lambda: resume(conn))
        elif what < 14:
            return ringnet.Action.AGAIN
        elif what == 14:
            conn.set_idle_timeout(chance.choice([0.2, 5.0]))
        elif what == 15:
            conn.set_read_timeout(chance.choice([None, 0.3]))
        elif what == 16 and chance.random() < 0.5:
            return ringnet.Action.CLOSE
        elif what == 17 and chance.random() < 0.3:
            book.cut = True
            chance.choice([conn.close_now, conn.reset])()
        elif what == 18 and chance.random() < 0.3:
            raise RuntimeError("of the handler")
        elif what == 19:
            conn.shutdown_write()
        elif what == 20:
            conn.wake()
        elif what == 21:
            conn.async_write(b"", lambda c, error: None)
        elif what == 22:
            conn.loop.execute(lambda: self.write(conn, b"later"))
        return None

    def write(self, conn: ringnet.Connection, data: bytes) -> None:
        try:
            conn.write(data)
        except (ringnet.ConnectionClosed, ringnet.BufferLimitExceeded):
            return
        if conn.fileno() != -1 and conn in self.books:
            self.books[conn].written += data


def resume(conn: ringnet.Connection) -> None:
    try:
        conn.resume_reading()
    except ringnet.ConnectionClosed:
        pass


@contextmanager
def clock_of(clock: Clock) -> Iterator[None]:
    with (
        mock.patch.object(timers, "monotonic", clock),
        mock.patch.object(deadlines, "monotonic", clock),
        mock.patch.object(logs, "monotonic", clock),
    ):
        yield


def run(seed: int) -> list[str]:
    """One run; raises AssertionError with the command that replays it."""
    before = set(os.listdir("/proc/self/fd"))
    try:
        log = _run(seed)
        assert set(os.listdir("/proc/self/fd")) == before, "descriptors are left"
    except BaseException as error:
        error.add_note(f"replay: python tests/tools/simulation.py {seed}")
        raise
    return log


def _run(seed: int) -> list[str]:
    chance, clock = random.Random(seed), Clock()
    bounds = Bounds(
        slots=64, events=chance.choice([8, 1024]), stage_bytes=chance.choice([512, 65536])
    )
    backend = SimulatedBackend(bounds, chance, clock, newcomers=chance.randrange(1, 8))
    handler = Chaos(chance, backend)
    with clock_of(clock):
        reactor, dials = prepare(handler, backend, bounds, chance)
        try:
            reactor.may_serve.set_result(True)
            with borrowed_thread():
                reactor._main()
        except BaseException as error:
            error.add_note("\n".join(handler.log[-30:]))
            raise
        check(reactor, handler, dials)
    return handler.log


def prepare(
    handler: Chaos, backend: SimulatedBackend, bounds: Bounds, chance: random.Random
) -> tuple[Reactor, list[Future[Any]]]:
    """An engine with one reactor, which runs on this thread."""
    silent = logging.Logger("simulation", logging.CRITICAL + 1)
    engine = ringnet.Engine(
        handler,
        "tcp://127.0.0.1:0",
        logger=silent,
        stage_bytes=bounds.stage_bytes,
        events_per_turn=bounds.events,
        max_connections=chance.choice([2, 20]),
        at_max_connections=chance.choice(["close", "wait"]),
        max_inbound=chance.choice([2_000, 1 << 20]),
        inbound_full=chance.choice(["close", "pause"]),
        max_outbound=chance.choice([20_000, 1 << 20]),
        outbound_full=chance.choice(["raise", "close"]),
        high_water=chance.choice([600, 30_000]),
        again_per_turn=chance.choice([1, 256]),
        idle_timeout=chance.choice([0.0, 20.0]),
        close_timeout=chance.choice([0.5, 30.0]),
        linger_timeout=chance.choice([0.0, 2.0]),
    )
    choice = Choice("simulated", "for a test", lambda _: backend)  # type: ignore[arg-type, return-value]
    engine.ground._choice = choice
    engine.life._state = "running"
    reactor = Reactor(engine, 0)
    reactor.backend = backend  # type: ignore[assignment]
    engine.group.take_in([reactor])
    listener = Listener(Address("tcp", "127.0.0.1", 1), [], engine.options)
    fd = os.dup(backend._null)
    reactor.post(reactor.listen, fd, Origin(handler, listener))
    dials = [
        engine.register("tcp://127.0.0.1:9", timeout=chance.choice([0.0001, 5.0]))
        for _ in range(chance.randrange(3))
    ]
    timeout = chance.choice([0.0, 0.1, 10.0])
    delay = chance.choice([0.5, 20.0])
    reactor.post(lambda: reactor.add_timer(delay, lambda: engine.request_stop(timeout)))
    return reactor, dials


def check(reactor: Reactor, handler: Chaos, dials: list[Future[Any]]) -> None:
    failure, has_failed = reactor.engine.group.failure, handler.backend.has_failed
    assert isinstance(failure, OSError) if has_failed else failure is None, repr(failure)
    assert not reactor.connections
    assert not reactor.again
    assert reactor.face.load == 0
    assert reactor.buffered == 0, reactor.buffered
    assert all(dial.done() for dial in dials)
    free, all_ = len(reactor._handles._free), len(reactor._handles._generations)
    assert free + handler.backend.left == all_ or has_failed, "a handle is lost"
    for conn, book in handler.books.items():
        assert book.closes == 1
        peer = book.peer
        got, wrote = bytes(peer.got), bytes(book.written)
        if not conn._error or not isinstance(conn._error, ringnet.BufferLimitExceeded):
            assert wrote.startswith(got), "what arrived is no beginning of what was written"
        assert peer.sent.startswith(bytes(book.read)), "what was read is no beginning of the sent"
        whole = book.error is None and not (book.cut or peer.is_reset or has_failed)
        if whole and not reactor.stopping.is_over:
            assert got == wrote, f"{len(wrote)} bytes were written and {len(got)} arrived"


def main() -> None:
    first = int(sys.argv[1])
    last = int(sys.argv[2]) if len(sys.argv) > 2 else first
    for seed in range(first, last + 1):
        log = run(seed)
        if first == last:
            print("\n".join(log))
    print(f"{last - first + 1} runs")


if __name__ == "__main__":
    main()
