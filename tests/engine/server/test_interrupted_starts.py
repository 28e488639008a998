"""A start that is interrupted, at whatever step, leaves nothing that runs."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, Recorder, endpoint, open_descriptors, until
from ringnet.engine.reactor.reactor import Reactor
from ringnet.engine.server import engine as module
from ringnet.engine.server import group


class Once:
    """Raises at the first call; later ones, of the end, do nothing."""

    def __init__(self) -> None:
        self.is_over = False

    def __call__(self, *_: Any, **__: Any) -> Any:
        if not self.is_over:
            self.is_over = True
            raise KeyboardInterrupt


def is_refused(where: tuple[str, int]) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(where) != 0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("step", ["balancing", "begin", "begun", "listen", "log", "noted"])
def test_nothing_is_left(backend: str, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before, threads = open_descriptors(), threading.active_count()
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend, reactors=2)
    bound: list[tuple[str, int]] = []
    open_all = engine._listening.open

    def note_bound(options: ringnet.Options) -> None:
        open_all(options)
        bound.append(endpoint(engine))

    monkeypatch.setattr(engine._listening, "open", note_bound)
    places = {
        "balancing": (group, "Balancing"),
        "begin": (Reactor, "start"),
        "begun": (engine.group, "take_in"),
        "listen": (engine.group, "listen"),
        "log": (engine.log, "info"),
        "noted": (module, "note_running"),
    }
    monkeypatch.setattr(*places[step], Once())
    with pytest.raises(KeyboardInterrupt):
        engine.start()
    monkeypatch.undo()
    assert "ended" in repr(engine)
    until(lambda: threading.active_count() == threads)
    assert is_refused(bound[0])
    until(lambda: open_descriptors() == before)
    with pytest.raises(ringnet.EngineStopped):
        engine.validate()


class Reluctant(Future[bool]):
    """Says that a reactor may serve, but is interrupted before."""

    def set_result(self, result: bool) -> None:
        if result:
            raise KeyboardInterrupt
        super().set_result(result)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [0, 1])
def test_when_some_serve_already(
    backend: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, threads = open_descriptors(), threading.active_count()

    class Interrupted(Reactor):
        def __init__(self, engine: Any, mine: int) -> None:
            super().__init__(engine, mine)
            if mine == number:
                self.may_serve = Reluctant()

    monkeypatch.setattr(group, "Reactor", Interrupted)
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend, reactors=2)
    with pytest.raises(KeyboardInterrupt):
        engine.start()
    assert "ended" in repr(engine)
    until(lambda: threading.active_count() == threads)
    until(lambda: open_descriptors() == before)
