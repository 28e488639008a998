"""Handlers that do not return: what waits for them has a bound all the same."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from time import monotonic
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, Talker, dial, receive, served, until
from ringnet.engine.base.processes import STOP_GRACE
from ringnet.engine.server.client import ANSWER_GRACE

SLACK = 3.0  # seconds that a busy machine may add to a bound


class Stuck(Recorder):
    """Does not return from `on_traffic` until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def on_traffic(self, conn: ringnet.Connection) -> None:
        self.seen.put(("stuck", conn))
        self.let_go.wait(WAIT)


@contextmanager
def stuck(backend: str, **options: Any) -> Iterator[tuple[ringnet.Engine, Stuck]]:
    """An engine with a reactor that does not come back, until the end of the test."""
    handler = Stuck()
    engine = served(backend, handler, **options).start()
    try:
        with dial(engine) as client:
            client.sendall(b"x")
            handler.expect("open")
            handler.expect("stuck")
            yield engine, handler
    finally:
        handler.let_go.set()
        engine.request_stop(0)
        assert engine.wait(WAIT)


@contextmanager
def takes(least: float, most: float) -> Iterator[None]:
    """What is inside takes so many seconds."""
    began = monotonic()
    yield
    assert least - 0.02 <= monotonic() - began <= most


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
def test_stop_says_so_when_its_time_is_over(backend: str, reactors: int) -> None:
    with stuck(backend, reactors=reactors) as (engine, handler):
        with takes(0.2 + STOP_GRACE, 0.2 + STOP_GRACE + SLACK):
            assert engine.stop(timeout=0.2) is False
        assert engine.is_running
        assert engine.is_stopping
        assert "stopping" in repr(engine)
        with takes(0.0, SLACK):
            assert engine.wait(0.01) is False
        handler.let_go.set()
        assert engine.wait(WAIT)
        assert not engine.is_running
        assert not engine.is_stopping
        assert engine.stop() is True
        assert handler.expect("close") is None
        assert handler.expect("shutdown") == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_leaving_with_has_the_same_bound(backend: str) -> None:
    with stuck(backend, stop_timeout=0.1) as (engine, _):
        with takes(0.1 + STOP_GRACE, 0.1 + STOP_GRACE + SLACK):
            engine.__exit__(None, None, None)
        assert engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
def test_stop_waits_as_long_as_it_is_asked_to(backend: str) -> None:
    with stuck(backend) as (engine, handler):
        stopped: list[bool] = []
        waits = threading.Thread(target=lambda: stopped.append(engine.stop(inf)))
        waits.start()
        waits.join(STOP_GRACE + 0.5)
        assert waits.is_alive()
        handler.let_go.set()
        waits.join(WAIT)
        assert stopped == [True]


@pytest.mark.parametrize("seconds", [inf, 1e300, threading.TIMEOUT_MAX])
def test_any_number_of_seconds_can_be_waited_for(seconds: float) -> None:
    engine = served("epoll", Recorder()).start()
    assert engine.stop(seconds)
    assert engine.wait(seconds)


@pytest.mark.parametrize("backend", BACKENDS)
def test_on_shutdown_that_does_not_return(backend: str) -> None:
    class Last(Stuck):
        def on_shutdown(self, engine: ringnet.Engine) -> None:
            self.let_go.wait(WAIT)

    handler = Last()
    engine = served(backend, handler).start()
    with takes(STOP_GRACE, STOP_GRACE + SLACK):
        assert engine.stop(timeout=0.0) is False
    assert engine.is_running
    handler.let_go.set()
    assert engine.wait(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dial_is_answered_in_time(backend: str) -> None:
    """And what the reactor makes of it later is closed, since nobody is there for it."""
    talker = Talker()
    with socket.create_server(("127.0.0.1", 0)) as peer, stuck(backend) as (engine, handler):
        peer.settimeout(WAIT)
        client = ringnet.Client(talker, engine=engine)
        with (
            takes(0.2 + ANSWER_GRACE, 0.2 + ANSWER_GRACE + SLACK),
            pytest.raises(TimeoutError, match="is blocking it") as caught,
        ):
            client.dial(f"tcp://127.0.0.1:{peer.getsockname()[1]}", timeout=0.2)
        assert caught.value.errno == errno.ETIMEDOUT
        handler.let_go.set()
        until(lambda: engine.count_connections() <= 1)
        assert talker.opened.qsize() == talker.closed.qsize()


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_enrolment_is_answered_in_time(backend: str) -> None:
    talker = Talker()
    with stuck(backend, connect_timeout=0.2) as (engine, handler):
        client = ringnet.Client(talker, engine=engine)
        ours, peer = socket.socketpair()
        with peer:
            peer.settimeout(WAIT)
            with (
                takes(0.2 + ANSWER_GRACE, 0.2 + ANSWER_GRACE + SLACK),
                pytest.raises(TimeoutError, match="is blocking it"),
            ):
                client.enroll(ours)
            handler.let_go.set()
            assert receive(peer, 1) == b"", "it was closed"
