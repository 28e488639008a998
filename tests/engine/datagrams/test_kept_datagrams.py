"""A datagram that is kept: how long it works, and what it says afterwards."""

from __future__ import annotations

import errno
import os
import socket
import threading
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, IN_CHILDREN, WAIT, Recorder, on_loop, udp_peer


class Keep(Recorder):
    def __init__(self) -> None:
        super().__init__()
        self.kept: Queue[Any] = Queue()

    def on_traffic(self, conn: ringnet.Connection) -> None:
        self.kept.put(conn)
        conn.next()


def one_of(engine: ringnet.Engine, handler: Keep) -> Any:
    with udp_peer(engine) as peer:
        peer.send(b"keep me")
        return handler.kept.get(timeout=WAIT)


def calls(conn: Any) -> dict[str, Any]:
    return {
        "write": lambda: conn.write(b"x"),
        "writev": lambda: conn.writev([b"x"]),
        "send_to": lambda: conn.send_to(b"x", ("127.0.0.1", 9)),
        "set_read_buffer": lambda: conn.set_read_buffer(4096),
        "set_write_buffer": lambda: conn.set_write_buffer(4096),
        "dup": conn.dup,
    }


def raised(conn: Any) -> dict[str, type]:
    """What each call raises on this thread, pretending that it was the reactor's."""
    conn._owner = threading.get_ident()  # the system gives thread numbers again
    found = {}
    for name, call in calls(conn).items():
        try:
            call()
        except Exception as error:
            found[name] = type(error)
    return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_the_engine_has_stopped(backend: str) -> None:
    handler = Keep()
    with ringnet.Engine(handler, "udp://127.0.0.1:0", backend=backend) as engine:
        conn = one_of(engine, handler)
        here = conn.local_address
    stranger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # may have the same number
    size = stranger.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert raised(conn) == dict.fromkeys(calls(conn), ringnet.ConnectionClosed)
    assert stranger.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == size
    stranger.close()
    assert conn.fileno() == -1
    assert conn.outbound_buffered == 0
    assert conn.local_address == here
    with pytest.raises(ringnet.ConnectionClosed):
        conn.async_write(b"x")


@pytest.mark.parametrize("backend", BACKENDS)
def test_while_the_engine_drains(backend: str) -> None:
    class Stay(Keep):
        def on_drain(self, conn: ringnet.Connection) -> None:
            self.seen.put(("drain", conn))

    handler = Stay()
    addresses = ("udp://127.0.0.1:0", "tcp://127.0.0.1:0")
    with ringnet.Engine(handler, *addresses, backend=backend) as engine:
        conn = one_of(engine, handler)
        port = int(engine.addresses[1].rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT):
            stream = handler.expect("open")
            stopper = threading.Thread(target=engine.stop, args=(WAIT,))
            stopper.start()
            assert handler.expect("drain") is stream
            on_loop(stream.loop, lambda: None)
            told: Queue[Any] = Queue()
            for name, call in calls(conn).items():
                with pytest.raises(ringnet.ConnectionClosed, match="socket of this datagram"):
                    pytest.fail(f"{name}: {on_loop(stream.loop, call)}")
            conn.async_write(b"x", lambda conn, error: told.put(error))
            assert isinstance(told.get(timeout=WAIT), ringnet.ConnectionClosed)
            assert on_loop(stream.loop, lambda: conn.outbound_buffered) == 0
        stopper.join(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_a_reactors_failure(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Keep()
    engine = ringnet.Engine(handler, "udp://127.0.0.1:0", backend=backend)
    make, broken = engine.make_backend, threading.Event()

    def breakable() -> Any:
        made = make()
        turn = made.turn

        def turn_or_fail(timeout: float | None) -> Any:
            if broken.is_set():
                raise OSError(errno.EIO, "the backend has failed")
            return turn(timeout)

        made.turn = turn_or_fail  # type: ignore[method-assign]
        return made

    monkeypatch.setattr(engine, "make_backend", breakable)
    engine.start()
    conn = one_of(engine, handler)
    broken.set()
    engine.reactors[0].execute(lambda: None)
    with pytest.raises(OSError, match="the backend has failed"):
        engine.wait(WAIT)
    assert raised(conn) == dict.fromkeys(calls(conn), ringnet.ConnectionClosed)
    assert conn.outbound_buffered == 0


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_in_a_forked_child(backend: str) -> None:
    handler = Keep()
    with ringnet.Engine(handler, "udp://127.0.0.1:0", backend=backend) as engine:
        conn = one_of(engine, handler)
        pid = os.fork()
        if pid == 0:
            found = raised(conn)
            good = found == dict.fromkeys(calls(conn), ringnet.EngineStateError)
            os._exit(0 if good and conn.outbound_buffered == 0 else 1)
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        told: Queue[Any] = Queue()
        conn.async_write(b"still works here", lambda conn, error: told.put(error))
        assert told.get(timeout=WAIT) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_waking_a_datagram_calls_no_handler(backend: str) -> None:
    handler = Keep()
    with ringnet.Engine(handler, "udp://127.0.0.1:0", backend=backend) as engine:
        conn = one_of(engine, handler)
        told: Queue[Any] = Queue()
        conn.wake()
        conn.wake(lambda conn, error: told.put(error))
        assert told.get(timeout=WAIT) is None
        on_loop(conn.loop, lambda: None)
        assert handler.kept.empty()
