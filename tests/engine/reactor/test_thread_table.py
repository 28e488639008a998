"""The table of threads in docs/threads.md: who writes what is shared."""

from __future__ import annotations

import socket
import sys
import threading
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    Talker,
    endpoint,
    open_descriptors,
    receive,
    until,
)
from ringnet.engine.connection.listener import Listener
from ringnet.engine.reactor.reactor import Reactor

COUNTERS = ("given", "begun", "ended", "buffered", "ident")


class Watched:
    """An attribute of reactors that notes which threads write it."""

    def __init__(self, name: str) -> None:
        self.name = f"_watched_{name}"
        self.writers: dict[int, set[str]] = defaultdict(set)

    def __get__(self, reactor: Any, kind: Any = None) -> Any:
        return self if reactor is None else reactor.__dict__[self.name]

    def __set__(self, reactor: Any, value: Any) -> None:
        if self.name in reactor.__dict__:  # not the one who makes it
            self.writers[reactor.number].add(threading.current_thread().name)
        reactor.__dict__[self.name] = value


class Guarded(set[Any]):
    """A set that is written under a lock only."""

    lock: Any = None

    def check(self) -> None:
        threading.Condition(self.lock).notify()  # raises where it is not held

    def add(self, item: Any) -> None:
        self.check()
        super().add(item)

    def discard(self, item: Any) -> None:
        self.check()
        super().discard(item)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> dict[str, Watched]:
    found = {name: Watched(name) for name in COUNTERS}
    for name, watch in found.items():
        monkeypatch.setattr(Reactor, name, watch, raising=False)
    return found


class Leaves(Recorder):
    """Leaves much unread, so that it is counted."""

    def on_traffic(self, conn: ringnet.Connection) -> None:
        if conn.inbound_buffered >= 50_000:
            conn.write(b"%d" % len(conn.next()))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("balancing", ["round_robin", "least_connections"])
def test_each_counter_has_one_writer(
    backend: str, balancing: str, tmp_path: Path, watched: dict[str, Watched]
) -> None:
    """With every way in: own listeners, one that all share, dialed and enrolled connections."""
    options: dict[str, Any] = {"reuse_port": True, "reactors": 3, "load_balancing": balancing}
    addresses = ("tcp://127.0.0.1:0", f"unix://{tmp_path}/s")
    handler = Leaves()
    with (
        ringnet.Engine(handler, *addresses, backend=backend, **options) as engine,
        ringnet.Client(Talker(), engine=engine) as client,
        ExitStack() as stack,
    ):
        budget = engine.budget
        for accepting in (budget._accepting, budget._resting):
            guarded = Guarded(accepting)
            guarded.lock = budget._lock
            name = "_accepting" if accepting is budget._accepting else "_resting"
            setattr(budget, name, guarded)
        for number in range(60):
            family = socket.AF_UNIX if number % 2 else socket.AF_INET
            peer = stack.enter_context(socket.socket(family))
            peer.settimeout(WAIT)
            peer.connect(f"{tmp_path}/s" if number % 2 else endpoint(engine))
            if number < 12:
                peer.sendall(bytes(50_000))
                assert receive(peer, 5) == b"50000"
        for loop in engine.reactors:
            client.register(engine.addresses[0], loop=loop).result(WAIT)
            ours, other = socket.socketpair()
            stack.enter_context(other)
            loop.enroll(ours).result(WAIT)
        until(lambda: engine.count_connections() == 60 + 3 * 3)
    names = {number: f"ringnet-{number}" for number in range(3)}
    first = {names[0]}
    for number, name in names.items():
        for counter in ("begun", "ended", "buffered", "ident"):
            assert watched[counter].writers[number] == {name}, counter
        assert watched["given"].writers[number] == (first if number else set())


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_connection_is_miscounted(backend: str, tmp_path: Path) -> None:
    """Two listeners whose newcomers come to the same reactors, as fast as can be."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    addresses = ("tcp://127.0.0.1:0", f"unix://{tmp_path}/s")
    options: dict[str, Any] = {"reuse_port": True, "reactors": 3, "backend": backend}

    def knock(family: int, where: Any) -> None:
        for _ in range(200):
            with socket.socket(family) as peer:
                peer.settimeout(WAIT)
                peer.connect(where)
                peer.sendall(b"x")
                assert receive(peer, 1) == b"x"

    try:
        with ringnet.Engine(Recorder(), *addresses, **options) as engine:
            wheres = [(socket.AF_INET, endpoint(engine)), (socket.AF_UNIX, f"{tmp_path}/s")] * 2
            threads = [threading.Thread(target=knock, args=where) for where in wheres]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(WAIT)
            until(lambda: engine.count_connections() == 0)
            assert [loop.load for loop in engine.reactors] == [0, 0, 0]
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("ticks", [True, False])
def test_a_stop_that_overtakes_the_start_leaves_no_descriptor(
    backend: str, ticks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All reactors have ended when the listeners are to be shared out."""

    class Ticks(Recorder):
        def on_tick(self) -> float:
            return 1.0

    real = Listener.descriptors
    engine = ringnet.Engine(
        Ticks() if ticks else Recorder(),
        "tcp://127.0.0.1:0",
        backend=backend,
        reactors=3,
        reuse_port=True,
    )

    def overtaken(listener: Listener) -> list[int]:
        fds = real(listener)
        engine.request_stop(0)
        until(lambda: not any(loop.ident for loop in engine.group.reactors))
        return fds

    monkeypatch.setattr(Listener, "descriptors", overtaken)
    before, threads = open_descriptors(), threading.active_count()
    engine.start()
    assert engine.wait(WAIT)
    assert open_descriptors() == before
    assert threading.active_count() == threads
