"""Where one allocation fails, what was to end ends all the same, and nothing is lost for good."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import faults
import pytest
import ringnet
from contract_tools import Rig
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    dial,
    on_loop,
    open_descriptors,
    receive,
    served,
    until,
)
from ringnet.completion import CLOSED, EOF, GRACEFUL, WOKEN
from ringnet.engine.base.sockets import borrowed

CPYTHON = pytest.mark.skipif(sys.implementation.name != "cpython", reason="the hooks are CPython's")


@CPYTHON
def test_a_borrowed_descriptor_stays_open() -> None:
    """Whatever fails: else a descriptor would be closed that is somebody else's by then."""
    ours, peer = socket.socketpair()
    with ours, peer:
        for nth in range(30):
            try:
                with faults.refuse_memory(nth), borrowed(ours.fileno()) as sock:
                    sock.getsockname()
                    raise OSError("of the body")
            except (MemoryError, OSError):
                pass
            os.fstat(ours.fileno())


@CPYTHON
def test_verbs(make_rig: Callable[..., Rig], backend_name: str) -> None:
    """A handle that was to be closed says CLOSED, and others are served."""
    for nth in range(12):
        made = make_rig()
        handle, peer = made.pair()
        other, bystander = made.pair()
        made.turn()
        made.backend.close(handle, GRACEFUL)
        made.backend.notify(other)
        try:
            with faults.refuse_memory(nth):
                made.turn()
        except MemoryError:
            pass
        peer.shutdown(socket.SHUT_WR)
        bystander.shutdown(socket.SHUT_WR)
        made.until(handle, CLOSED)
        made.until(other, EOF)


def refuse_once(patch: pytest.MonkeyPatch, kind: type, method: str) -> list[Any]:
    """Have a method find no memory the first time; the list gets one item for each call."""
    calls: list[Any] = []
    before = getattr(kind, method)

    def refuse(self: Any, *arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 1:
            raise MemoryError
        return before(self, *arguments)

    patch.setattr(kind, method, refuse)
    return calls


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", ["close", "close_now", "action", "end", "raise"])
def test_a_close(backend: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was half done: the connection was closing, and nobody closed it."""

    class Closes(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
            if conn.next() == b"x":
                conn.write(b"x")
                return None
            refuse_once(monkeypatch, type(conn._loop.backend), "close")
            if way == "raise":
                raise ValueError("on purpose")
            if way in ("close", "close_now"):
                getattr(conn, way)()
            return ringnet.Action.CLOSE if way == "action" else None

    handler = Closes()
    with served(backend, handler, close_timeout=3600) as engine, dial(engine) as client:
        client.sendall(b"!")
        if way == "end":
            client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
        handler.expect("open")
        error = handler.expect("close")
        assert isinstance(error, ValueError if way == "raise" else MemoryError | None)
        with dial(engine) as bystander:
            bystander.sendall(b"x")
            assert receive(bystander, 1) == b"x"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("method", ["_is_full", "_give"])
def test_a_newcomer(backend: str, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is closed, and the next one is served."""
    handler = Recorder()
    with served(backend, handler) as engine:
        acceptor = engine.group.reactors[0].acceptor
        refuse_once(monkeypatch, type(acceptor), method)
        with dial(engine) as client:
            assert client.recv(1) == b""
        until(lambda: acceptor.turned_away == 1)
        with dial(engine) as client:
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        until(lambda: engine.count_connections() == 0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_news_of_calls(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who posts behind others wakes nobody: were it lost, no call would ever be made again."""
    with served(backend, Recorder()) as engine:
        loop = engine.group.reactors[0]
        woken: list[int] = []
        monkeypatch.setattr(loop, "wake_up", lambda: woken.append(1))
        on_loop(loop, lambda: loop.setbacks.survive(iter(()), 0, WOKEN, MemoryError()))
        assert woken


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_enrolled_in_vain(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that was lost does not keep the number of its descriptor from being used again."""
    ours, peer = socket.socketpair()
    number = ours.fileno()
    with served(backend, Recorder()) as engine, peer:
        loop = engine.group.reactors[0]
        monkeypatch.setattr(loop.mailbox, "post_made", lambda call, make: make()[2].close())
        engine.enroll(ours)
        monkeypatch.undo()
        again, other = socket.socketpair()
        with other:
            if again.fileno() != number:
                os.dup2(again.detach(), number)
                again = socket.socket(fileno=number)
            engine.enroll(again).result(10).close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("way", ["refused", "too late", "given up"])
def test_a_dial(backend: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its future ends, and so does its attempt."""
    with served(backend, Recorder()) as engine, full_backlog() as full:
        (loop,) = engine.group.reactors
        on_loop(loop, bool)  # its listeners are there
        before = open_descriptors()
        closed = refuse_once(monkeypatch, type(loop.backend), "close")
        where = f"127.0.0.1:{1 if way == 'refused' else full}"
        dialed = engine.register(f"tcp://{where}", timeout=0.2 if way == "too late" else WAIT)
        if way == "given up":
            until(lambda: on_loop(loop, lambda: loop.dials.attempts))
            on_loop(loop, lambda: loop.dials.give_up("nobody wants it"))
        assert dialed.exception(WAIT) is not None
        until(lambda: not on_loop(loop, lambda: loop.dials.attempts or loop.dials.pending))
        assert len(closed) == 2
        until(lambda: open_descriptors() == before)


@contextmanager
def full_backlog() -> Iterator[int]:
    """The port of a listener that lets nobody in."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            sock = stack.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@CPYTHON
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("step", ["connected", "own", "hand_on"])
def test_a_dial_that_had_nearly_won(
    backend: str, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever allocation fails: what is in a table is counted, and leaves both tables."""
    addresses = "tcp://127.0.0.1:0", "udp://127.0.0.1:0"
    with ringnet.Engine(Recorder(), *addresses, backend=backend) as engine:
        (loop,) = engine.group.reactors
        loop.begun, loop.ended = 1_000, 1_000  # integers of that size are allocated
        owner = loop.dials if step == "hand_on" else loop.streams
        real = getattr(owner, step)
        nths = iter(range(20))

        def scarce(*arguments: Any) -> Any:
            made: list[Any] = []
            try:
                with faults.refuse_memory(next(nths)):
                    made = [real(*arguments)]
            except MemoryError:
                if not made:
                    if step == "own":
                        arguments[0].close()  # the call itself may have failed
                    raise
            return made[0]

        monkeypatch.setattr(owner, step, scarce)
        address = engine.addresses[1 if step == "own" else 0]
        for _ in range(20):
            dialed = engine.register(address)
            error = dialed.exception(WAIT)
            assert error is None or isinstance(error, MemoryError)
            if error is None:
                dialed.result().close()
            until(lambda: engine.count_connections() == 0)
            until(lambda: not on_loop(loop, lambda: loop.dials.attempts))
            assert loop.dials not in loop.owners.values()
