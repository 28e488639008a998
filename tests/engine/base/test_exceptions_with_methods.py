"""Exceptions of users' code that have methods of their own, which raise or lie."""

from __future__ import annotations

import errno
import logging

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, receive, served, until
from setback_tools import Breakable


class Raises(Exception):
    """Nothing can be asked of it."""

    def __bool__(self) -> bool:
        raise ValueError("of __bool__")

    def __eq__(self, other: object) -> bool:
        raise ValueError("of __eq__")

    def __hash__(self) -> int:
        raise ValueError("of __hash__")

    def __repr__(self) -> str:
        raise ValueError("of __repr__")

    __str__ = __repr__


class Empty(SystemExit):
    """As good as nothing, for who asks `if error`."""

    def __len__(self) -> int:
        return 0


class Fails(Recorder):
    """Raises when it reads a `!`."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        if data == b"!":
            raise self.error
        conn.write(data)


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_that_raises_when_it_is_looked_at(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    handler = Fails(Raises())
    with (
        caplog.at_level(logging.ERROR, "ringnet"),
        served(backend, handler) as engine,
        dial(engine) as bystander,
    ):
        handler.expect("open")
        with dial(engine) as client:
            handler.expect("open")
            client.sendall(b"!")
            assert client.recv(1) == b""
        assert handler.expect("close") is handler.error
        bystander.sendall(b"x")
        assert receive(bystander, 1) == b"x"
    (line,) = [record for record in caplog.records if "on_traffic raised" in record.getMessage()]
    assert line.exc_info is not None
    assert line.exc_info[1] is handler.error


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_that_a_connection_ends_with_when_the_backend_fails(backend: str) -> None:
    handler = Fails(Raises())
    engine = Breakable(handler, "tcp://127.0.0.1:0", backend=backend, linger_timeout=WAIT)
    engine.start()
    with dial(engine) as bystander, dial(engine) as client:
        conns = [handler.expect("open") for _ in range(2)]
        client.sendall(b"!")
        assert client.recv(1) == b""  # our side is ended, and theirs not yet
        engine.failure = OSError(errno.EIO, "broken")
        bystander.sendall(b"x")
        ends = [handler.expect("close") for _ in conns]
        assert sum(end is handler.error for end in ends) == 1
        assert sum(end is engine.failure for end in ends) == 1
        with pytest.raises(OSError, match="broken"):
            engine.wait(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_exit_that_is_empty_is_one(backend: str) -> None:
    handler = Fails(Empty(7))
    engine = served(backend, handler, reactors=2).start()
    with dial(engine) as client:
        client.sendall(b"!")
        with pytest.raises(Empty):
            engine.wait(WAIT)
    until(lambda: not engine.is_running)
