"""`ringnet.run`: the first reactor on the calling thread, beside others, and away from the main."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    dial,
    on_loop,
    open_descriptors,
    receive,
    until,
)
from ringnet.engine.base.current import current_loop
from ringnet.engine.server.choose import Choice, choose
from setback_tools import break_backend


class Boots(Recorder):
    """Tells of its engine."""

    def __init__(self) -> None:
        super().__init__()
        self.engines: Queue[ringnet.Engine] = Queue()

    def on_boot(self, engine: ringnet.Engine) -> None:
        self.engines.put(engine)


@contextmanager
def running(
    backend: str, handler: Boots, **options: Any
) -> Iterator[tuple[ringnet.Engine, threading.Thread, Future[Any]]]:
    """`run` on a thread, which says afterwards what it raised and what it left behind."""
    over: Future[Any] = Future()

    def host() -> None:
        cpus = os.sched_getaffinity(0)
        failure = None
        try:
            ringnet.run(handler, "tcp://127.0.0.1:0", backend=backend, **options)
        except BaseException as error:
            failure = error
        over.set_result((failure, current_loop(), os.sched_getaffinity(0) == cpus))

    thread = threading.Thread(target=host)
    thread.start()
    engine = handler.engines.get(timeout=WAIT)
    until(lambda: len(engine.reactors) == engine.options.reactors)
    try:
        yield engine, thread, over
    finally:
        engine.request_stop(0)
        thread.join(WAIT)
        assert not thread.is_alive()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 3])
def test_the_first_reactor_is_on_the_calling_thread(backend: str, reactors: int) -> None:
    handler = Boots()
    before = threading.active_count()
    with running(backend, handler, reactors=reactors) as (engine, thread, over):
        assert engine.group.reactors[0].ident == thread.ident
        assert threading.active_count() == before + reactors
        with dial(engine) as client:
            client.sendall(b"hello")
            assert receive(client, 5) == b"hello"
            handler.expect("open")
            # Waiting and stopping are for other threads, as they are with `start`.
            assert not engine.wait(0)
            assert engine.stop()
        assert handler.expect("close") is None
        assert handler.expect("shutdown") == 0
        assert over.result(WAIT) == (None, None, True)
    assert threading.active_count() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_may_not_wait_for_itself_and_stops_from_within(backend: str) -> None:
    with running(backend, Boots(), reactors=2) as (engine, _, over):
        host = engine.reactors[0]
        with pytest.raises(ringnet.EngineStateError, match="wait for itself"):
            on_loop(host, engine.wait)
        on_loop(host, engine.stop)
        assert over.result(WAIT) == (None, None, True)


class Interrupted(threading.Event):
    """Whoever waits for it is interrupted, as by a signal, with a lock held that knows no owner."""

    def __init__(self, call: Callable[[], object]) -> None:
        super().__init__()
        self.call = call
        self.lock = threading.Lock()

    def wait(self, timeout: float | None = None) -> bool:
        assert self.lock.acquire(blocking=False), "it waits while it waits"
        try:
            self.call()
        finally:
            self.lock.release()
        return super().wait(timeout)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
def test_stop_in_a_handler_that_interrupts_wait_waits_for_nothing(
    backend: str, reactors: int
) -> None:
    handler = Boots()
    with running(backend, handler, reactors=reactors) as (engine, _, over):
        stopped: list[bool] = []
        ended = Interrupted(lambda: stopped.append(engine.stop()))
        engine.life._ended = ended
        engine.request_stop()
        assert over.result(WAIT) == (None, None, True)
        assert len(stopped) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_cpu_is_given_back(backend: str) -> None:
    cpu = max(os.sched_getaffinity(0))
    with running(backend, Boots(), cpus=(cpu,)) as (engine, _, over):
        assert on_loop(engine.reactors[0], lambda: os.sched_getaffinity(0)) == {cpu}
        engine.stop()
        assert over.result(WAIT) == (None, None, True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [0, 1])
def test_what_made_a_reactor_fail_is_raised(backend: str, number: int) -> None:
    handler = Boots()
    before = threading.active_count()
    with running(backend, handler, reactors=2) as (engine, _, over):
        loop = engine.group.reactors[number]
        on_loop(loop, lambda: break_backend(loop.backend))
        failure, *_ = over.result(WAIT)
        assert isinstance(failure, OSError)
        assert handler.expect("shutdown") == 0
    assert threading.active_count() == before


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_reactor_that_cannot_begin_ends_the_others(
    number: int, here: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def make(bounds: Any) -> Any:
        loop = current_loop()
        if isinstance(loop, ringnet.EventLoop) and loop.number == number:
            raise OSError("no memory for it")
        return real.make(bounds)

    real = choose("epoll")
    threads, descriptors = threading.active_count(), open_descriptors()
    monkeypatch.setattr(
        "ringnet.engine.server.ground.choose", lambda *_: Choice("epoll", "for a test", make)
    )
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", reactors=3)
    with pytest.raises(OSError, match="no memory for it"):
        engine.run_here() if here else engine.start()
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors
    assert current_loop() is None
    assert engine.wait(0), "it has ended"


@pytest.mark.parametrize("here", [True, False])
def test_a_system_without_another_thread(here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Thread(threading.Thread):
        def start(self) -> None:
            if self.name == "ringnet-2":
                raise RuntimeError("can't start new thread")
            super().start()

    threads, descriptors = threading.active_count(), open_descriptors()
    monkeypatch.setattr("ringnet.engine.reactor.reactor.Thread", Thread)
    engine = ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend="epoll", reactors=3)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        engine.run_here() if here else engine.start()
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_boot_that_fails_begins_nothing(backend: str) -> None:
    class Fails(Recorder):
        def on_boot(self, engine: ringnet.Engine) -> None:
            raise LookupError("of a user")

    threads, descriptors = threading.active_count(), open_descriptors()
    with pytest.raises(LookupError, match="of a user"):
        ringnet.run(Fails(), "tcp://127.0.0.1:0", backend=backend, reactors=2)
    assert threading.active_count() == threads
    assert open_descriptors() == descriptors
