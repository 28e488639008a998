"""Exceptions of every class, raised by all code of users that runs on a reactor."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    IN_CHILDREN,
    WAIT,
    Recorder,
    dial,
    on_loop,
    receive,
    served,
    until,
)


class OfItsOwn(BaseException):
    """No Exception, as those that may not be caught by the way."""


ODD = (asyncio.CancelledError, GeneratorExit, OfItsOwn)
EXITS = (SystemExit, KeyboardInterrupt)


class Raising(Recorder):
    """Raises in one method, for connections whose first byte is `!`; others are echoed."""

    def __init__(self, method: str, error: BaseException) -> None:
        super().__init__()
        self.method = method
        self.error = error
        self.ends: list[tuple[Any, BaseException | None]] = []

    def fail(self, method: str, conn: ringnet.Connection) -> None:
        if method == self.method and conn.context == "bad":
            raise self.error

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        if data.startswith(b"!"):
            conn.context = "bad"
        self.fail("on_traffic", conn)
        conn.write(data)

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action:
        self.fail("on_end", conn)
        return ringnet.Action.CLOSE

    def on_drain(self, conn: ringnet.Connection) -> ringnet.Action:
        self.fail("on_drain", conn)
        return ringnet.Action.CLOSE

    def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
        self.ends.append((conn.context, error))
        self.fail("on_close", conn)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("method", ["on_traffic", "on_end", "on_close"])
def test_it_closes_its_own_connection(backend: str, kind: type[BaseException], method: str) -> None:
    handler = Raising(method, kind("of the handler"))
    with served(backend, handler) as engine, dial(engine) as bystander:
        with dial(engine) as client:
            client.sendall(b"!")
            if method != "on_traffic":
                assert receive(client, 1) == b"!"
            else:
                assert client.recv(1) == b""
        until(lambda: handler.ends)
        bystander.sendall(b"x")
        assert receive(bystander, 1) == b"x"
        assert handler.ends == [("bad", None if method == "on_close" else handler.error)]
    assert handler.ends[1:] == [(None, None)]


class Asked(Exception):
    """Raises when it is asked of what class it is."""

    @property
    def __class__(self) -> Any:
        raise OfItsOwn("of __class__")


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_error_that_raises_itself_when_it_is_asked(backend: str) -> None:
    handler = Raising("on_traffic", Asked("of the handler"))
    with served(backend, handler) as engine, dial(engine) as client:
        client.sendall(b"!")
        assert client.recv(1) == b""
        until(lambda: handler.ends)
        assert handler.ends[0][1] is handler.error


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ODD)
def test_on_open_and_on_shutdown(backend: str, kind: type[BaseException]) -> None:
    error = kind("of on_open")

    class Opens(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            raise error

        def on_shutdown(self, engine: ringnet.Engine) -> None:
            super().on_shutdown(engine)
            raise kind("of on_shutdown")

    handler = Opens()
    with served(backend, handler) as engine, dial(engine) as client:
        assert client.recv(1) == b""
        assert handler.expect("close") is error
    handler.expect("shutdown")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ODD)
def test_a_datagram_harms_nobody(backend: str, kind: type[BaseException]) -> None:
    from engine_tools import udp_peer

    class Datagrams(ringnet.EventHandler):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            data = conn.next()
            if data == b"!":
                raise kind("of a datagram")
            conn.write(data)

    with (
        ringnet.Engine(Datagrams(), "udp://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        peer.send(b"!")
        peer.send(b"x")
        assert peer.recv(10) == b"x"


def callers(
    engine: ringnet.Engine, conn: ringnet.Connection, call: Callable[..., Any]
) -> dict[str, Callable[[], object]]:
    """Ways for a user's call to come to run on a loop, which all run it."""
    loop = conn.loop
    pool = ringnet.WorkerPool(1)
    return {
        "execute": lambda: loop.execute(call),
        "schedule": lambda: loop.schedule(0, call),
        "async_write": lambda: conn.async_write(b"", call),
        "wake": lambda: conn.wake(call),
        "close": lambda: conn.close(call),
        "submit_to": lambda: pool.submit_to(conn, int, call),
        "register": lambda: engine.register(engine.addresses[0]).add_done_callback(call),
        "failed register": lambda: engine.register("unix:///nowhere/to/be/found").add_done_callback(
            call
        ),
    }


WAYS = tuple(callers(None, type("_", (), {"loop": None})(), print))  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", [OfItsOwn, asyncio.CancelledError])
def test_calls_harm_nobody(backend: str, way: str, kind: type[BaseException]) -> None:
    called = threading.Event()

    def fails(*_: object) -> None:
        called.set()
        raise kind("of a call")

    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as bystander, dial(engine):
        conns = [handler.expect("open"), handler.expect("open")]
        bystander.sendall(b"x")
        assert receive(bystander, 1) == b"x"
        port = bystander.getsockname()
        (conn,) = [c for c in conns if on_loop(c.loop, lambda c=c: c.remote_address) != port]
        on_loop(conn.loop, callers(engine, conn, fails)[way])
        assert called.wait(WAIT)
        bystander.sendall(b"y")
        assert receive(bystander, 1) == b"y"
        assert engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_balancer_and_a_tick_harm_nobody(backend: str) -> None:
    def picks(*_: object) -> Any:
        raise OfItsOwn("of load_balancing")

    class Ticks(Recorder):
        ticks = 0

        def on_tick(self) -> float:
            self.ticks += 1
            if self.ticks == 2:
                raise OfItsOwn("of on_tick")
            return 0.005

    handler = Ticks()
    with (
        served(backend, handler, reactors=2, load_balancing=picks) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        until(lambda: handler.ticks >= 5)


# What ends a program


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", EXITS)
@pytest.mark.parametrize("method", ["on_traffic", "on_end", "on_close"])
def test_an_exit_ends_the_engine(backend: str, kind: type[BaseException], method: str) -> None:
    """In order: all connections are told, only its own gets it as the error, `wait` raises it."""
    handler = Raising(method, kind("of the handler"))
    engine = served(backend, handler, reactors=2).start()
    with dial(engine) as bystander:
        bystander.sendall(b"x")
        assert receive(bystander, 1) == b"x"
        with dial(engine) as client:
            client.sendall(b"!")
            if method != "on_traffic":
                assert receive(client, 1) == b"!"
        with pytest.raises(kind, match="of the handler"):
            engine.wait(WAIT)
        assert bystander.recv(1) == b""
    own = None if method == "on_close" else handler.error
    assert sorted(handler.ends, key=repr) == sorted([("bad", own), (None, None)], key=repr)
    assert handler.expect("open")
    assert handler.expect("open")
    assert handler.expect("shutdown") == 0
    assert not engine.is_running
    with pytest.raises(kind):
        engine.stop()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", WAYS)
def test_an_exit_of_any_call(backend: str, way: str) -> None:
    def leaves(*_: object) -> None:
        sys.exit(7)

    handler = Recorder()
    engine = served(backend, handler).start()
    with dial(engine):
        conn = handler.expect("open")
        callers(engine, conn, leaves)[way]()
        with pytest.raises(SystemExit, match="7"):
            engine.wait(WAIT)
    assert not engine.is_running


PROGRAM = """
import sys, ringnet

class Leaves(ringnet.EventHandler):
    def on_boot(self, engine):
        self.engine = engine
        if sys.argv[2] == "on_boot":
            sys.exit(7)

    def on_tick(self):
        if sys.argv[2] == "on_tick":
            sys.exit(7)
        if sys.argv[2] == "schedule":
            self.engine.reactors[-1].schedule(0, lambda: sys.exit(7))
        if sys.argv[2] == "on_shutdown":
            return ringnet.Action.SHUTDOWN

    def on_shutdown(self, engine):
        print("shutdown", flush=True)
        if sys.argv[2] == "on_shutdown":
            sys.exit(7)

if sys.argv[3] == "run":
    ringnet.run(Leaves(), "tcp://127.0.0.1:0", backend=sys.argv[1], reactors=2)
else:
    with ringnet.Engine(Leaves(), "tcp://127.0.0.1:0", backend=sys.argv[1], reactors=2) as engine:
        engine.wait()
print("not reached", flush=True)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("way", ["run", "engine"])
@pytest.mark.parametrize("method", ["on_boot", "on_tick", "schedule", "on_shutdown"])
def test_a_program_ends_with_its_exit_code(backend: str, way: str, method: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, backend, method, way],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 7
    assert done.stdout == ("" if method == "on_boot" else "shutdown\n")


class Dying:
    """What is dropped on a loop, and raises as it goes."""

    def __init__(self, kind: type[BaseException]) -> None:
        self.kind = kind

    def __del__(self) -> None:
        raise self.kind("of __del__")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [OfItsOwn, SystemExit])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_context_that_raises_as_it_goes(backend: str, kind: type[BaseException]) -> None:
    class Contexts(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            conn.context = Dying(kind)

    handler = Contexts()
    with served(backend, handler) as engine:
        for _ in range(3):
            with dial(engine) as client:
                client.sendall(b"x")
                assert receive(client, 1) == b"x"
            assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [OfItsOwn, asyncio.CancelledError])
@pytest.mark.parametrize("way", ["enroll", "register"])
def test_whoever_waits_for_a_connection_hears_of_it(
    backend: str, kind: type[BaseException], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An interrupt where the engine itself is at work."""

    def interrupted(*_: object) -> None:
        raise kind("of the engine")

    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as bystander:
        ours, theirs = socket.socketpair()
        with ours, theirs, monkeypatch.context() as patch:
            patch.setattr("ringnet.engine.reactor.enrolling.prepare_socket", interrupted)
            patch.setattr("ringnet.engine.reactor.dial.prepare_socket", interrupted)
            future = (
                engine.enroll(ours) if way == "enroll" else engine.register(engine.addresses[0])
            )
            with pytest.raises(Exception, match=r"of the engine|no address"):
                future.result(WAIT)
        bystander.sendall(b"x")
        assert receive(bystander, 1) == b"x"
        assert engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", EXITS)
@pytest.mark.parametrize("way", ["enroll", "register", "register a name", "register a path"])
def test_what_ends_a_program_ends_the_engine_where_it_is_at_work(
    backend: str,
    kind: type[BaseException],
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And whoever waits for the connection hears that there will be none."""
    wish = kind("of the engine")

    def interrupted(*_: object) -> None:
        raise wish

    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend).start()
    port = engine.addresses[0].rpartition(":")[2]
    addresses = {
        "register": engine.addresses[0],
        "register a name": f"tcp://localhost:{port}",
        "register a path": f"unix://{tmp_path}/s",
    }
    ours, theirs = socket.socketpair()
    with ours, theirs, monkeypatch.context() as patch:
        patch.setattr("ringnet.engine.reactor.enrolling.prepare_socket", interrupted)
        patch.setattr("ringnet.engine.reactor.dial.prepare_socket", interrupted)
        future = engine.enroll(ours) if way == "enroll" else engine.register(addresses[way])
        with pytest.raises(ringnet.ConnectionClosed, match="of the engine"):
            future.result(WAIT)
        with pytest.raises(kind, match="of the engine"):
            engine.wait(WAIT)
