"""What a closing connection still receives is dropped: that costs the others nothing, holds no
buffers, and the answer arrives."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from time import monotonic

import pytest
import ringnet
from contract_tools import PATIENCE, Rig, pattern
from engine_tools import BACKENDS, WAIT, dial, receive, served
from ringnet.completion import CLOSED, DATA, GRACEFUL, SHUT

ANSWER = b"HTTP/1.1 413 Content Too Large\r\n\r\n"
UPLOAD = 30_000_000
LINGER = 8 * PATIENCE  # seconds: who waits for that has failed
SOON = 2 * PATIENCE  # seconds, and far more than anybody should wait


class Refusing(ringnet.EventHandler):
    """Echoes what begins with `echo`, and refuses everything else, in one of several ways."""

    def __init__(self, way: str) -> None:
        self.way = way
        self.closed: list[Exception | None] = []

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action:
        if conn.peek(4) == b"echo":
            conn.write(conn.next())
            return ringnet.Action.NONE
        return self.refuse(conn)

    def refuse(self, conn: ringnet.Connection) -> ringnet.Action:
        if self.way == "paused":
            conn.pause_reading()
            conn.write(ANSWER)
            conn.loop.schedule(0.2, conn.close)
            return ringnet.Action.NONE
        conn.write(ANSWER)
        if self.way == "raises":
            raise ValueError("an upload that nobody wants")
        if self.way == "left":
            conn.close()
            return ringnet.Action.NONE
        conn.next()
        return ringnet.Action.CLOSE

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
        self.closed.append(error)


def upload(engine: ringnet.Engine) -> bytes:
    """Send everything, then read: as simple clients do. Returns the answer."""
    with dial(engine) as sock:
        sock.settimeout(WAIT)
        sock.sendall(b"POST" + bytes(UPLOAD))
        return receive(sock, 1 << 16)


def longest_echo(engine: ringnet.Engine, while_: Callable[[], bool]) -> float:
    """The longest that an echo took, of those meanwhile."""
    longest = 0.0
    with dial(engine) as sock:
        while while_():
            began = monotonic()
            sock.sendall(b"echo")
            assert receive(sock, 4) == b"echo"
            longest = max(longest, monotonic() - began)
    return longest


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("way", "uploaders", "options"),
    [
        ("closes", 1, {}),
        ("closes", 5, {}),
        ("raises", 1, {}),
        ("left", 2, {"inbound_full": "pause", "max_inbound": 65_536}),
        ("paused", 2, {}),
        ("closes", 2, {"receive_buffers": 1, "receive_buffer_size": 4_096}),
        ("closes", 5, {"receive_buffers": 1, "receive_buffer_size": 64}),
    ],
    ids=["one", "five", "raises", "left", "paused", "small", "tiny"],
)
def test_others_are_served_while_an_upload_is_refused(
    backend: str, way: str, uploaders: int, options: dict[str, object]
) -> None:
    handler = Refusing(way)
    with ExitStack() as stack:
        engine = stack.enter_context(
            served(backend, handler, linger_timeout=LINGER, log_level="critical", **options)
        )
        pool = stack.enter_context(ThreadPoolExecutor(uploaders))
        answers = [pool.submit(upload, engine) for _ in range(uploaders)]
        longest = longest_echo(engine, lambda: not all(answer.done() for answer in answers))
        assert [answer.result(WAIT) for answer in answers] == [ANSWER] * uploaders
        assert longest < SOON


class Draining(Refusing):
    """Takes in whatever comes, until the engine stops."""

    def __init__(self) -> None:
        super().__init__("drains")
        self.begun: Future[None] = Future()

    def refuse(self, conn: ringnet.Connection) -> ringnet.Action:
        conn.next()
        conn.context = "upload"
        if not self.begun.done():
            self.begun.set_result(None)
        return ringnet.Action.NONE

    def on_drain(self, conn: ringnet.Connection) -> None:
        if conn.context == "upload":
            conn.write(ANSWER)
            conn.close()


def flood_until_refused(engine: ringnet.Engine) -> None:
    with dial(engine) as sock:
        sock.settimeout(WAIT)
        try:
            while True:
                sock.sendall(b"POST" + bytes(1_000_000))
        except (ConnectionResetError, BrokenPipeError):
            pass


@pytest.mark.parametrize("backend", BACKENDS)
def test_others_are_served_while_the_engine_drains(backend: str) -> None:
    """`on_drain` answers and closes, in the middle of an upload that goes on."""
    handler = Draining()
    engine = served(backend, handler, linger_timeout=LINGER).start()
    with ThreadPoolExecutor(2) as pool, dial(engine) as other:
        other.sendall(b"echo")
        assert receive(other, 4) == b"echo"
        flood = pool.submit(flood_until_refused, engine)
        handler.begun.result(WAIT)
        stopped = pool.submit(engine.stop, WAIT)
        longest = 0.0
        while not flood.done():
            began = monotonic()
            other.sendall(b"echo")
            assert receive(other, 4) == b"echo"
            longest = max(longest, monotonic() - began)
        flood.result(WAIT)
        assert longest < SOON
        other.close()
        assert stopped.result(WAIT)


def test_bytes_for_nobody_hold_no_buffer(make_rig: Callable[..., Rig]) -> None:
    """One turn after the other, whoever still reads gets its bytes."""
    made = make_rig(receive_buffers=1, receive_buffer_size=4_096)
    closing, rude = made.pair()
    reading, peer = made.pair()
    made.backend.close(closing, GRACEFUL)
    made.until(closing, SHUT)
    stop = threading.Event()

    def flood() -> None:
        rude.settimeout(0.05)
        while not stop.is_set():
            try:
                rude.send(bytes(100_000))
            except TimeoutError:
                continue
            except OSError:
                return

    flooding = threading.Thread(target=flood)
    flooding.start()
    try:
        for number in range(50):
            before = len(made.received[reading])
            peer.sendall(pattern(3_000))
            made.pump(lambda n=before: len(made.received[reading]) == n + 3_000, SOON)
            assert not made.has(closing, CLOSED), number
    finally:
        stop.set()
        flooding.join(WAIT)
    rude.shutdown(socket.SHUT_WR)
    made.until(closing, CLOSED)
    assert made.kinds(reading) == [DATA]
    assert made.kinds(closing) == [SHUT, CLOSED]


def test_a_turn_ends_in_time_while_bytes_are_dropped(make_rig: Callable[..., Rig]) -> None:
    """What is settled without an event goes round no longer than the caller would wait."""
    made = make_rig(receive_buffers=1, receive_buffer_size=4_096)
    handles = []
    for _ in range(3):
        ours, rude = socket.socketpair()
        rude.setblocking(False)
        made.peers.append(rude)
        handles.append((made.adopt(ours), rude))
    made.turn()
    for handle, _ in handles:
        made.backend.close(handle, GRACEFUL)
    for handle, _ in handles:
        made.until(handle, SHUT)
    deadline = monotonic() + SOON
    for _ in range(100):
        for _, rude in handles:
            try:
                rude.send(bytes(200_000))
            except BlockingIOError:
                pass
        made.turn(0.001)
    assert monotonic() < deadline
