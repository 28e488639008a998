"""Half close, and what `on_close` gets: the same for the same event on every backend."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, endpoint, on_loop, receive, served, until
from places import ROOT

OWED = bytes(range(256)) * 80_000  # 20 MB


class Answers(Recorder):
    """Owes much when the peer has ended its side."""

    def on_traffic(self, conn: ringnet.Connection) -> None:
        conn.next()

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action | None:
        assert conn.peer_has_ended
        self.seen.put(("end", None))
        conn.write(OWED)
        return ringnet.Action.CLOSE


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_owed_to_a_peer_that_has_ended_arrives(backend: str) -> None:
    handler = Answers()
    with served(backend, handler) as engine, dial(engine) as client:
        client.sendall(b"x")
        client.shutdown(socket.SHUT_WR)
        assert receive(client, len(OWED) + 1) == OWED
        handler.expect("open")
        handler.expect("end")
        assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_our_side_stays_open_as_long_as_the_handler_likes(backend: str) -> None:
    class Later(Answers):
        def on_end(self, conn: ringnet.Connection) -> None:
            conn.loop.schedule(0.2, lambda: self.say(conn))

        def say(self, conn: ringnet.Connection) -> None:
            conn.write(OWED)
            conn.close()

    handler = Later()
    with served(backend, handler) as engine, dial(engine) as client:
        client.shutdown(socket.SHUT_WR)
        assert receive(client, len(OWED) + 1) == OWED
        handler.expect("open")
        assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_ending_our_side_alone(backend: str) -> None:
    """What was written before arrives, then the end; then the peer may go on for a while."""

    class Ends(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            super().on_open(conn)
            conn.write(OWED)
            conn.shutdown_write()
            conn.shutdown_write()
            with pytest.raises(ringnet.ConnectionClosed, match="shutdown_write"):
                conn.write(b"more")
            with pytest.raises(ringnet.ConnectionClosed, match="shutdown_write"):
                conn.write(b"")

        def on_traffic(self, conn: ringnet.Connection) -> None:
            self.seen.put(("got", conn.next()))

    handler = Ends()
    with served(backend, handler) as engine, dial(engine) as client:
        assert receive(client, len(OWED) + 1) == OWED
        handler.expect("open")
        for word in (b"one", b"two"):
            client.sendall(word)
            got = b""
            while len(got) < len(word):
                got += handler.expect("got")
            assert got == word
        assert engine.count_connections() == 1
        client.shutdown(socket.SHUT_WR)
        assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_ending_our_side_after_the_peer_closes(backend: str) -> None:
    class Ends(Recorder):
        def on_end(self, conn: ringnet.Connection) -> None:
            conn.loop.schedule(0.05, conn.shutdown_write)

    handler = Ends()
    with served(backend, handler) as engine, dial(engine) as client:
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 1) == b""
        handler.expect("open")
        assert handler.expect("close") is None


# What happens to a connection, and what `on_close` gets: docs/ends.md has the same table.


def reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def ended(client: socket.socket, conn: Any) -> None:
    client.close()


def reset_while_idle(client: socket.socket, conn: Any) -> None:
    reset(client)


def reset_while_much_is_owed(client: socket.socket, conn: Any) -> None:
    on_loop(conn.loop, lambda: conn.write(OWED))
    receive(client, 1000)
    reset(client)


def gone_while_much_is_owed(client: socket.socket, conn: Any) -> None:
    """It ends with bytes unread, which is a reset."""
    on_loop(conn.loop, lambda: conn.write(OWED))
    receive(client, 1000)
    client.close()


def reset_and_then_written_to(client: socket.socket, conn: Any) -> None:
    def write() -> None:
        reset(client)
        conn.write(OWED)

    on_loop(conn.loop, write)


def closed_by_us(client: socket.socket, conn: Any) -> None:
    on_loop(conn.loop, conn.close)
    client.close()


def closed_by_us_at_once(client: socket.socket, conn: Any) -> None:
    on_loop(conn.loop, conn.close_now)


def reset_by_us(client: socket.socket, conn: Any) -> None:
    on_loop(conn.loop, conn.reset)
    with pytest.raises(ConnectionResetError):
        client.recv(1)


def closed_while_the_peer_does_not_read(client: socket.socket, conn: Any) -> None:
    def close() -> None:
        conn.write(OWED)
        conn.close()

    on_loop(conn.loop, close)


def reset_while_we_close(client: socket.socket, conn: Any) -> None:
    closed_while_the_peer_does_not_read(client, conn)
    receive(client, 1000)
    reset(client)


def reset_while_we_close_with_more_than_the_stage(client: socket.socket, conn: Any) -> None:
    def close() -> None:
        for start in range(0, len(OWED), 1 << 20):
            conn.write(OWED[start : start + (1 << 20)])
        conn.close()

    on_loop(conn.loop, close)
    receive(client, 1000)
    reset(client)


def failed_in_the_handler(client: socket.socket, conn: Any) -> None:
    client.sendall(b"raise")
    client.shutdown(socket.SHUT_WR)


def left_unread(client: socket.socket, conn: Any) -> None:
    client.sendall(b"leave" + bytes(10_000))
    client.shutdown(socket.SHUT_WR)


def stopped(client: socket.socket, conn: Any) -> None:
    conn._loop.engine.request_stop()
    client.close()


ROWS: list[tuple[Callable[[socket.socket, Any], None], type[Exception] | None, int]] = [
    (ended, None, 0),
    (reset_while_idle, ConnectionResetError, errno.ECONNRESET),
    (reset_while_much_is_owed, ConnectionResetError, errno.ECONNRESET),
    (gone_while_much_is_owed, ConnectionResetError, errno.ECONNRESET),
    (reset_and_then_written_to, ConnectionResetError, errno.ECONNRESET),
    (closed_by_us, None, 0),
    (closed_by_us_at_once, None, 0),
    (reset_by_us, None, 0),
    (closed_while_the_peer_does_not_read, TimeoutError, errno.ETIMEDOUT),
    (reset_while_we_close, ConnectionResetError, errno.ECONNRESET),
    (reset_while_we_close_with_more_than_the_stage, ConnectionResetError, errno.ECONNRESET),
    (failed_in_the_handler, ZeroDivisionError, 0),
    (left_unread, ringnet.BufferLimitExceeded, 0),
    (stopped, None, 0),
]


def test_the_table_in_the_docs_has_each_row() -> None:
    docs = (ROOT / "docs" / "ends.md").read_text(encoding="utf-8")
    table = docs.partition("## The same event, the same error")[2].partition("\n## ")[0]
    for event, kind, _ in ROWS:
        (line,) = [line for line in table.splitlines() if f"`{event.__name__}`" in line]
        word = "that exception" if kind is ZeroDivisionError else kind.__name__ if kind else "None"
        assert word in line


class Row(Recorder):
    def on_traffic(self, conn: ringnet.Connection) -> None:
        word = conn.peek()[:5]
        if word == b"raise":
            _ = 1 / 0
        if not (b"raise".startswith(word) or b"leave".startswith(word)):
            conn.next()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("event", "kind", "number"), ROWS, ids=lambda x: getattr(x, "__name__", "")
)
def test_the_same_event_is_the_same_error(
    backend: str,
    event: Callable[[socket.socket, Any], None],
    kind: type[Exception] | None,
    number: int,
) -> None:
    handler = Row()
    options = {"close_timeout": 0.3, "max_inbound": 5_000, "socket_send_buffer": 65_536}
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, **options).start()
    try:
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
            client.settimeout(WAIT)
            client.connect(endpoint(engine))
            conn = handler.expect("open")
            event(client, conn)
            error = handler.expect("close")
            assert type(error) is (kind or type(None)), repr(error)
            assert (getattr(error, "errno", 0) or 0) == number
            until(lambda: engine.count_connections() == 0)
    finally:
        engine.stop()
    handler.expect("shutdown")
    assert handler.seen.empty(), "on_close comes once"


@pytest.mark.parametrize("backend", BACKENDS)
def test_close_waits_for_what_is_owed_and_close_now_does_not(backend: str) -> None:
    class Owes(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            super().on_open(conn)
            conn.write(OWED)

    handler = Owes()
    with served(backend, handler) as engine, dial(engine) as patient, dial(engine) as cut:
        first, second = handler.expect("open"), handler.expect("open")
        on_loop(first.loop, first.close)
        on_loop(second.loop, second.close_now)
        got: list[bytes] = []
        reads = threading.Thread(target=lambda: got.append(receive(patient, len(OWED) + 1)))
        reads.start()
        assert len(receive_until_the_end(cut)) < len(OWED)
        reads.join(WAIT)
        assert got == [OWED]


def receive_until_the_end(sock: socket.socket) -> bytes:
    try:
        return receive(sock, len(OWED))
    except ConnectionResetError:
        return b""
