"""What there is one of per connection, datagram, dial or timer is freed without the collector."""

from __future__ import annotations

import gc
import socket
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from time import sleep
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, dial, on_loop, udp_peer, until
from ringnet.engine.base.timers import Timer
from ringnet.engine.connection.connection import Connection
from ringnet.engine.connection.deadlines import Countdown, Deadlines
from ringnet.engine.reactor.dial import Dial

MANY = 20
KINDS = (Connection, Deadlines, Countdown, Dial, Timer)
LIMITS = {"idle_timeout": 60.0, "read_timeout": 60.0, "write_timeout": 60.0}


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


class Fails(ringnet.EventHandler):
    """Raises in one of its methods, an error with a history; counts the ends."""

    def __init__(self, where: str = "") -> None:
        self.where = where
        self.ends: Counter[str] = Counter()
        self.calls = 0

    def fail(self, conn: ringnet.Connection, where: str) -> None:
        if where == self.where:
            held = [conn]
            try:
                deeper(held)
            except LookupError as error:
                raise RuntimeError(where) from error

    def on_open(self, conn: ringnet.Connection) -> None:
        self.fail(conn, "on_open")

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        self.calls += 1
        self.fail(conn, "on_traffic")
        if not isinstance(conn, ringnet.Datagram) or conn.remote_address:
            conn.write(data)

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action:
        self.fail(conn, "on_end")
        return ringnet.Action.CLOSE

    def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
        self.ends[type(error).__name__] += 1
        self.fail(conn, "on_close")


def deeper(held: list[Any]) -> None:
    conn = held[0]
    raise LookupError(f"while {conn} is in a variable")


def alive() -> Counter[str]:
    """How many there are of each kind."""
    return Counter(type(one).__name__ for one in gc.get_objects() if isinstance(one, KINDS))


def nothing_is_left(before: Counter[str]) -> None:
    """Most are gone at once, and what is left after a while is left for good."""
    for _ in range(100):
        left = alive()
        left.subtract(before)
        if all(count <= 0 for count in left.values()):
            return
        sleep(0.02)
    raise AssertionError(f"of {MANY} of each there are still {+left}")


def engine_of(backend: str, handler: ringnet.EventHandler, **options: Any) -> ringnet.Engine:
    return ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, **options)


def visit(engine: ringnet.Engine, data: bytes = b"x") -> None:
    """A connection that comes, talks and goes."""
    with suppress(OSError), dial(engine) as client:
        client.sendall(data)
        client.recv(len(data))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("where", ["", "on_open", "on_traffic", "on_end", "on_close"])
def test_connections_with_limits_and_handlers_that_raise(backend: str, where: str) -> None:
    handler = Fails(where)
    with engine_of(backend, handler, **LIMITS) as engine:
        visit(engine)
        until(lambda: handler.ends.total() == 1)
        before = alive()
        for _ in range(MANY):
            visit(engine)
        until(lambda: handler.ends.total() == MANY + 1)
        nothing_is_left(before)


class Uses(Fails):
    """Does with each connection what a program may do."""

    def __init__(self, use: Callable[[Any], object]) -> None:
        super().__init__()
        self.use = use

    def on_open(self, conn: ringnet.Connection) -> None:
        self.use(conn)


def with_timers(conn: Any) -> None:
    conn.context = [conn.loop.schedule(600, partial(print, conn)) for _ in range(3)]
    for timer in conn.context:
        timer.cancel()
    conn.loop.schedule(0.001, partial(repr, conn))


def with_callbacks(conn: Any) -> None:
    conn.close(lambda conn_, error: (conn, conn_, error))
    conn.close(lambda conn_, error: (conn, conn_, error))


def with_refused_writes(conn: Any) -> None:
    conn.shutdown_write()
    conn.async_write(b"refused", lambda conn_, error: (conn, conn_, error))
    conn.async_write(b"refused")
    conn.wake(lambda conn_, error: (conn, conn_, error))


def with_full_buffers(conn: Any) -> None:
    for write in (conn.write, lambda data: conn.writev(iter([data]))):
        with suppress(ringnet.BufferLimitExceeded):
            while True:
                write(bytes(16 << 20))
    conn.close_now()


def with_calls(conn: Any) -> None:
    conn.loop.execute(lambda: conn.write(b"later"))
    conn.loop.execute(partial(deeper, [conn]))
    conn.loop.schedule(0, partial(deeper, [conn]))


def with_limits(conn: Any) -> None:
    conn.set_deadline(0.01)
    conn.set_idle_timeout(0.01)


def with_harder_ends(conn: Any) -> None:
    conn.write(bytes(3_000_000))
    conn.close()
    conn.loop.schedule(0.005, conn.reset)


def with_pauses(conn: Any) -> None:
    conn.pause_reading()
    conn.wake()
    conn.loop.schedule(0.005, conn.resume_reading)


USES = [
    with_timers,
    with_callbacks,
    with_refused_writes,
    with_full_buffers,
    with_calls,
    with_limits,
    with_harder_ends,
    with_pauses,
]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("use", USES)
def test_connections_that_are_used(backend: str, use: Callable[[Any], object]) -> None:
    handler = Uses(use)
    with engine_of(backend, handler) as engine:
        visit(engine)
        until(lambda: handler.ends.total() == 1)
        before = alive()
        for _ in range(MANY):
            visit(engine)
        until(lambda: handler.ends.total() == MANY + 1)
        nothing_is_left(before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_dials(backend: str) -> None:
    """That work, are refused, take too long, and of names that do not exist."""
    handler = Fails()
    with engine_of(backend, Fails()) as engine, ringnet.Client(handler, backend=backend) as client:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = f"tcp://127.0.0.1:{closed.getsockname()[1]}"

        def some() -> None:
            conn = client.dial(engine.addresses[0], context=object())
            with pytest.raises(ConnectionRefusedError):
                client.dial(nobody, context=object())
            future = client.engine.register(nobody)
            assert isinstance(future.exception(WAIT), ConnectionRefusedError)
            with pytest.raises(OSError, match="resolved"):
                client.dial("tcp://" + "a" * 64 + ".invalid:80")
            on_loop(conn.loop, conn.close_now)

        some()
        until(lambda: handler.ends.total() == 1)
        before = alive()
        for _ in range(MANY):
            some()
        until(lambda: handler.ends.total() == MANY + 1)
        until(lambda: engine.count_connections() == 0)
        nothing_is_left(before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_enrolled_sockets(backend: str) -> None:
    handler = Fails()
    with engine_of(backend, handler) as engine, socket.create_server(("127.0.0.1", 0)) as peers:

        def some() -> None:
            sock = socket.create_connection(peers.getsockname())
            peer, _ = peers.accept()
            conn = engine.enroll(sock, context=object()).result(WAIT)
            peer.close()
            del conn

        some()
        until(lambda: handler.ends.total() == 1)
        before = alive()
        for _ in range(MANY):
            some()
        until(lambda: handler.ends.total() == MANY + 1)
        nothing_is_left(before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("where", ["", "on_traffic"])
def test_datagrams(backend: str, where: str) -> None:
    handler = Fails(where)
    with ringnet.Engine(handler, "udp://127.0.0.1:0", backend=backend) as engine:
        peer = udp_peer(engine)

        def some() -> None:
            peer.send(b"x")
            if not where:
                assert peer.recv(10) == b"x"

        some()
        until(lambda: handler.calls)
        on_loop(engine.reactors[0], lambda: None)  # the first is in the log, with its traceback
        before = alive()
        for _ in range(MANY):
            some()
        peer.close()
        nothing_is_left(before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_generator_that_the_error_went_through_goes_on(backend: str) -> None:
    """It is the program's, and of no single connection."""
    errors: list[BaseException] = []

    def collect() -> Iterator[None]:
        while True:
            try:
                yield
            except RuntimeError as error:
                errors.append(error)

    collector = collect()
    next(collector)

    class Throws(Fails):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            error = RuntimeError("of the handler")
            collector.throw(error)  # type: ignore[attr-defined]
            raise error

    handler = Throws()
    with engine_of(backend, handler) as engine:
        for count in (1, 2):
            visit(engine)
            until(lambda count=count: handler.ends["RuntimeError"] == count)
    assert len(errors) == 2
    assert "in on_traffic" in "".join(traceback.format_exception(errors[0]))
