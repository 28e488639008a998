"""Where one allocation fails, what was to end ends all the same, and nothing is lost for good."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from typing import Any

import faults
import pytest
import ringnet
from contract_tools import Rig
from engine_tools import BACKENDS, Recorder, dial, on_loop, receive, served, until
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
