"""What bad input and wrong calls get: a clear error at the call, and no harm to others."""

from __future__ import annotations

import logging
import socket
import threading
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, endpoint, receive


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("tcp:/x", "write it as"),
        ("tcp://127.0.0.1:70000", "0 to 65535"),
        ("gopher://127.0.0.1:70", "unknown scheme 'gopher'"),
        ("tcp://127.0.0.1", "HOST:PORT"),
        (9000, "an address is text"),
    ],
)
def test_addresses(address: Any, says: str) -> None:
    with pytest.raises(ringnet.AddressError, match=says):
        ringnet.Engine(Recorder(), address)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"reactor": 2}, "did you mean 'reactors'"),
        ({"reactors": 0}, "from 1 to 1024 threads"),
        ({"reactors": "two"}, "a whole number of threads"),
        ({"reactors": True}, "a whole number of threads"),
        ({"close_timeout": -1}, "from 0.0 to 86400.0 s"),
        ({"tcp_nodelay": 1}, "True or False"),
        ({"backend": "io_urin"}, "did you mean 'io_uring'"),
    ],
)
def test_options(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ringnet.OptionError, match=says):
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options)


def test_the_variable_is_checked_like_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINGNET_BACKEND", "epol")
    with pytest.raises(ringnet.OptionError, match=r"RINGNET_BACKEND.*did you mean 'epoll'"):
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0").start()


def test_a_handler_without_its_methods() -> None:
    with pytest.raises(TypeError, match="derive it from"):
        ringnet.Engine(object(), "tcp://127.0.0.1:0")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="pass an instance"):
        ringnet.Engine(Recorder, "tcp://127.0.0.1:0")  # type: ignore[arg-type]


def test_an_address_in_use_closes_what_was_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        used = f"tcp://127.0.0.1:{taken.getsockname()[1]}"
        threads = threading.active_count()
        with pytest.raises(ringnet.BindError, match=used + ".*another process"):
            ringnet.Engine(Recorder(), f"tcp://127.0.0.1:{port}", used).start()
        assert threading.active_count() == threads
        socket.create_server(("127.0.0.1", port)).close()


class Trial(Recorder):
    """Runs a function with the connection at the first traffic and keeps what it raised."""

    def __init__(self, trial: Any) -> None:
        super().__init__()
        self.trial = trial

    def on_traffic(self, conn: ringnet.Connection) -> None:
        try:
            self.seen.put(("result", self.trial(conn)))
        except Exception as error:
            self.seen.put(("result", error))


def outcome(backend: str, trial: Any) -> Any:
    handler = Trial(trial)
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as client:
            client.sendall(b"12345")
            handler.expect("open")
            return handler.expect("result")


def closed_then_written(conn: ringnet.Connection) -> None:
    conn.close()
    conn.write(b"late")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("trial", "error", "says"),
    [
        (lambda conn: conn.write("text"), TypeError, "encode it first"),
        (closed_then_written, ringnet.ConnectionClosed, "closed"),
        (lambda conn: conn.next(6), ringnet.ShortBuffer, "6 bytes requested, but 5"),
        (lambda conn: conn.peek(6), ringnet.ShortBuffer, "6 bytes"),
        (lambda conn: conn.next(-2), ValueError, "-1 for all"),
    ],
)
def test_calls_that_cannot_be(backend: str, trial: Any, error: type[Exception], says: str) -> None:
    result = outcome(backend, trial)
    assert isinstance(result, error)
    assert says in str(result)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_short_buffer_consumes_nothing(backend: str) -> None:
    def trial(conn: ringnet.Connection) -> bytes:
        with pytest.raises(ringnet.ShortBuffer):
            conn.discard(9)
        return conn.peek(2) + conn.next(3) + conn.read(9)

    assert outcome(backend, trial) == b"1212345"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_wrong_thread_is_told_so(backend: str) -> None:
    handler = Recorder()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as client:
            conn = handler.expect("open")
            with pytest.raises(ringnet.WrongThread, match="async_write"):
                conn.write(b"x")
            conn.async_write(b"right")
            assert receive(client, 5) == b"right"


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exception_closes_its_connection_only(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Fragile(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            if conn.peek() == b"break":
                raise ZeroDivisionError("on purpose")
            conn.write(conn.next())

    handler = Fragile()
    caplog.set_level(logging.ERROR, "ringnet")
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as good, dial(engine) as bad:
            bad.sendall(b"break")
            assert receive(bad, 1) == b""
            bad.close()
            handler.expect("open")
            handler.expect("open")
            assert isinstance(handler.expect("close"), ZeroDivisionError)
            good.sendall(b"fine")
            assert receive(good, 4) == b"fine"
    assert "ZeroDivisionError: on purpose" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_reset_is_the_error_of_on_close(backend: str) -> None:
    handler = Recorder()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        client = dial(engine)
        handler.expect("open")
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.close()
        assert isinstance(handler.expect("close"), ConnectionResetError)


@pytest.mark.parametrize("backend", BACKENDS)
def test_outbound_bytes_are_bounded(backend: str) -> None:
    def trial(conn: ringnet.Connection) -> None:
        for _ in range(100):
            conn.write(bytes(1_000_000))

    handler = Trial(trial)
    options: dict[str, Any] = {"backend": backend, "max_outbound": 8_000_000}
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", **options) as engine:
        with dial(engine) as client:
            client.sendall(b"go")
            handler.expect("open")
            assert isinstance(handler.expect("result"), ringnet.BufferLimitExceeded)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("backend", BACKENDS)
def test_inbound_leftovers_are_bounded(backend: str) -> None:
    class Hoarder(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            """Leaves everything."""

    handler = Hoarder()
    options: dict[str, Any] = {"backend": backend, "max_inbound": 100_000}
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", **options) as engine:
        with dial(engine) as client:
            handler.expect("open")
            with pytest.raises((ConnectionError, BrokenPipeError)):
                for _ in range(10_000):
                    client.sendall(bytes(100_000))
            assert isinstance(handler.expect("close"), ringnet.BufferLimitExceeded)


@pytest.mark.parametrize("backend", BACKENDS)
def test_foreign_threads_keep_their_order(backend: str) -> None:
    handler = Recorder()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as client:
            conn = handler.expect("open")

            def write(name: int) -> None:
                for number in range(500):
                    conn.async_write(bytes([name]) + number.to_bytes(2, "big"))

            threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
            for thread in threads:
                thread.start()
            got = receive(client, 8 * 500 * 3)
            for thread in threads:
                thread.join(WAIT)
    for name in range(8):
        mine = [got[i + 1 : i + 3] for i in range(0, len(got), 3) if got[i] == name]
        assert mine == [number.to_bytes(2, "big") for number in range(500)]


@pytest.mark.parametrize("backend", BACKENDS)
def test_actions_timers_and_wake(backend: str) -> None:
    class Busy(Recorder):
        def on_open(self, conn: ringnet.Connection) -> bytes:
            conn.loop.schedule(0.01, lambda: conn.write(b"timer "))
            conn.loop.schedule(0.0, lambda: conn.write(b"never")).cancel()
            self.seen.put(("open", conn))
            return b"hello "

        def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action:
            conn.write(b"woken")
            return ringnet.Action.CLOSE

    handler = Busy()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        with dial(engine) as client:
            conn = handler.expect("open")
            assert receive(client, 12) == b"hello timer "
            conn.wake()
            assert receive(client, 100) == b"woken"
        assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_shutdown_by_an_action(backend: str) -> None:
    class Last(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action:
            conn.write(b"bye")
            return ringnet.Action.SHUTDOWN

    handler = Last()
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend).start()
    where = endpoint(engine)
    with socket.create_connection(where, timeout=WAIT) as client:
        client.sendall(b"x")
        assert receive(client, 100) == b"bye"
    assert engine.wait(WAIT)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(where, timeout=WAIT)
