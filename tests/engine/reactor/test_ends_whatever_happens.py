"""The end of a reactor runs to its end, and a system that gives nothing more costs little."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, receive, served, until
from ringnet.engine.connection.connection import Connection
from ringnet.engine.reactor.acceptor import Acceptor
from ringnet.engine.reactor.dials import Dials
from ringnet.engine.reactor.endpoints import Endpoints
from ringnet.engine.reactor.free_handles import Handles
from ringnet.engine.reactor.streams import Streams
from setback_tools import Breakable


def raising(error: BaseException) -> Callable[..., Any]:
    def call(*_: object, **__: object) -> Any:
        raise error

    return call


def failing_first(call: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """Raises at its first call on each object, before it does anything."""
    seen: set[int] = set()

    def failing(owner: object, *arguments: Any) -> Any:
        if id(owner) not in seen:
            seen.add(id(owner))
            raise error
        return call(owner, *arguments)

    return failing


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "broken"), GeneratorExit()])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Acceptor, "close"),
        (Dials, "give_up"),
        (Endpoints, "close"),
        (Streams, "drain"),
        (Streams, "_cancel_timer"),
        (Streams, "_tidy_up"),
        (Handles, "give_back"),
        (Connection, "outbound_buffered"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_step_of_stop_that_fails(
    backend: str,
    error: BaseException,
    place: Any,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All connections are closed and told, and the engine ends, at the latest in `stop_timeout`."""
    handler = Recorder()
    engine = served(backend, handler, reactors=2, stop_timeout=1.0).start()
    with dial(engine) as one, dial(engine) as two:
        for client in (one, two):
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        call: Any = raising(error)
        if place is Acceptor:  # without it nothing would ever be over
            call = failing_first(Acceptor.close, error)
        monkeypatch.setattr(place, name, property(call) if name == "outbound_buffered" else call)
        assert engine.stop()
        monkeypatch.undo()
        assert one.recv(1) == two.recv(1) == b""
    told = [handler.seen.get(timeout=WAIT)[0] for _ in range(5)]
    assert told == ["open", "open", "close", "close", "shutdown"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.EIO, "broken"), GeneratorExit()])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (Acceptor, "give_up"),
        (Dials, "give_up"),
        (Streams, "_tidy_up"),
        (Connection, "_forget_inbound"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_step_after_a_failure_that_fails(
    backend: str,
    error: BaseException,
    place: Any,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`wait` raises the failure, and the rest is done."""
    handler = Recorder()
    engine = Breakable(handler, "tcp://127.0.0.1:0", backend=backend, reactors=2).start()
    with dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        monkeypatch.setattr(place, name, raising(error))
        engine.failure = OSError(errno.EBADF, "the backend is broken")
        engine.group.reactors[0].wake_up()
        with pytest.raises(OSError, match="the backend is broken"):
            engine.wait(WAIT)
        monkeypatch.undo()
    assert not engine.is_running
    assert handler.expect("open")
    handler.expect("close")
    handler.expect("shutdown")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_that_cannot_be_disposed_of(backend: str) -> None:
    class Stuck(ringnet.Engine):
        def make_backend(self) -> Any:
            made: Any = super().make_backend()
            dispose = made.dispose

            def fails() -> None:
                dispose()
                raise OSError(errno.EIO, "some of it is left")

            made.dispose = fails
            return made

    handler = Recorder()
    engine = Stuck(handler, "tcp://127.0.0.1:0", backend=backend).start()
    with dial(engine):
        handler.expect("open")
        assert engine.stop()
    assert handler.expect("close") is None
    assert handler.expect("shutdown") == 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("error", [OSError(errno.EIO, "broken"), GeneratorExit()])
def test_a_last_step_of_the_engine_that_fails(
    backend: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = Recorder()
    engine = served(backend, handler).start()
    monkeypatch.setattr(engine.resolvers, "end", raising(error))
    with dial(engine):
        handler.expect("open")
        assert engine.stop()
    assert not engine.is_running
    assert handler.expect("close") is None
    handler.expect("shutdown")


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_event_that_cannot_be_served(backend: str) -> None:
    """A mistake of ours while one connection is served costs that one."""
    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as bystander:
        handler.expect("open")
        with dial(engine) as client:
            conn = handler.expect("open")
            conn._memory = None  # no event of it can be served any more
            client.sendall(b"x")
            assert client.recv(1) == b""
            assert isinstance(handler.expect("close"), TypeError)
        bystander.sendall(b"x")
        assert receive(bystander, 1) == b"x"


@pytest.mark.parametrize("backend", BACKENDS)
def test_watching_goes_on_after_an_exception(backend: str) -> None:
    """Of what `run` watches for signals, for example."""
    import socket

    ours, theirs = socket.socketpair()
    heard: list[bytes] = []

    def heed() -> None:
        heard.append(theirs.recv(1))
        raise RuntimeError("of heed")

    with ours, theirs, served(backend, Recorder()) as engine:
        (loop,) = engine.group.reactors
        loop.post_own(loop.watches.add, theirs.fileno(), heed)
        for count in range(1, 4):
            ours.sendall(b"!")
            until(lambda count=count: len(heard) == count)


# No more threads


@pytest.fixture
def no_threads(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """As where the pids limit is reached."""
    monkeypatch.setattr(threading.Thread, "start", raising(RuntimeError("can't start new thread")))
    return monkeypatch


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_name_that_no_thread_can_resolve(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as client:
        handler.expect("open")
        address = engine.addresses[0].replace("127.0.0.1", "localhost")
        with monkeypatch.context() as patch:
            patch.setattr(
                threading.Thread, "start", raising(RuntimeError("can't start new thread"))
            )
            for _ in range(3):
                with pytest.raises(
                    OSError, match=r"^\[Errno \d+\] the host of .* thread$"
                ) as caught:
                    engine.register(address).result(WAIT)
                assert caught.value.errno == errno.EAGAIN
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        assert engine.register(address).result(WAIT)  # as soon as there are threads again


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_that_no_thread_can_run(backend: str, no_threads: pytest.MonkeyPatch) -> None:
    engine = served(backend, Recorder(), reactors=2)
    with pytest.raises(RuntimeError, match="thread"):
        engine.start()
    assert not engine.is_running
    no_threads.undo()
    with served(backend, Recorder()) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
