"""RFC 8305, 5: an attempt follows 250 ms after the last one that began, or at once on a failure."""

from __future__ import annotations

import errno
import math
import socket
from collections.abc import Callable
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any, cast

import pytest
import ringnet
from dial_tools import Full, Names, closed_port
from engine_tools import BACKENDS, WAIT, Recorder, Talker, endpoint, until
from ringnet.engine.base.address import parse_address
from ringnet.engine.base.options import make_options
from ringnet.engine.connection.origin import Origin
from ringnet.engine.reactor.dial import Dial
from ringnet.engine.reactor.dials import Dials
from ringnet.sockaddr import unpack


class Later:
    """A timer of a clock that the test turns."""

    def __init__(self, when: float, call: Callable[[], object]) -> None:
        self.due = when
        self.when = math.inf  # for who asks the real clock whether it was late
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class FakeLoop:
    """What a dial needs of a reactor, on a clock of its own; it notes who is tried, and when."""

    is_stopping = False

    def __init__(self) -> None:
        self.now = 0.0
        self.options = make_options({})
        self.owners: dict[int, Any] = {}
        self.dials = Dials(self)  # type: ignore[arg-type]
        self.timers: list[Later] = []
        self.most = 0  # timers that waited at once
        self.begun: list[tuple[float, str]] = []
        self.handles = 0
        self.backend = SimpleNamespace(
            connect=self.connect, close=lambda handle, mode: None, capacity=100
        )
        self.resolved: list[tuple[int, Any]] = []
        self.engine = SimpleNamespace(resolvers=SimpleNamespace(submit=lambda call: call()))
        self.fds: list[int] = []

    def add_timer(self, delay: float, call: Callable[[], object]) -> Later:
        self.timers.append(Later(self.now + delay, call))
        self.most = max(self.most, sum(timer.call is not None for timer in self.timers))
        return self.timers[-1]

    def post_own(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)

    def guard(self, call: Callable[..., object], *arguments: object) -> None:
        call(*arguments)

    def take_handle(self) -> int:
        self.handles += 1
        return self.handles

    def give_back_handle(self, handle: int) -> None:
        """Each is taken once here."""

    def connect(self, handle: int, fd: int, address: bytes) -> None:
        self.fds.append(fd)
        self.begun.append((round(self.now, 3), unpack(address)[1][0]))

    def run_until(self, when: float) -> None:
        while True:
            waiting = [one for one in self.timers if one.call is not None and one.due <= when]
            if not waiting:
                break
            first = min(waiting, key=lambda one: one.due)
            self.now = max(self.now, first.due)
            call, first.call = first.call, None
            assert call is not None
            call()
        self.now = when


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def begin(loop: FakeLoop) -> Future[ringnet.Connection]:
    address = parse_address("tcp4://several.test:80")
    dial = Dial(cast("Any", loop), Origin(ringnet.EventHandler()), address, 30.0, None)
    dial.begin()
    return dial.future


def close_all(loop: FakeLoop) -> None:
    for fd in loop.fds:
        socket.socket(fileno=fd).close()


def test_refusals_do_not_hasten_those_who_follow(names: Names) -> None:
    """Five that refuse after 10 ms each, and six that are silent."""
    names.addresses = [(f"127.0.0.{n}", 1) for n in range(1, 12)]
    loop = FakeLoop()
    future = begin(loop)
    for handle in range(1, 6):
        loop.run_until(handle * 0.01)
        loop.dials.on_error(handle, -errno.ECONNREFUSED)
    loop.run_until(3.0)
    at_once = [0.0, 0.01, 0.02, 0.03, 0.04]
    paced = [0.05, 0.3, 0.55, 0.8, 1.05, 1.3]
    assert [when for when, _ in loop.begun] == at_once + paced
    assert [host for _, host in loop.begun] == [where[0] for where in names.addresses]
    assert loop.most == 2  # the time limit, and the next attempt
    assert not future.done()
    loop.run_until(31.0)
    assert isinstance(future.exception(0), TimeoutError)
    assert not loop.dials.pending
    close_all(loop)


def test_a_late_refusal_begins_the_delay_anew(names: Names) -> None:
    names.addresses = [(f"127.0.0.{n}", 1) for n in range(1, 5)]
    loop = FakeLoop()
    future = begin(loop)
    loop.run_until(0.2)
    loop.dials.on_error(1, -errno.ECONNREFUSED)  # 50 ms before the second would begin
    loop.run_until(0.44)
    assert [when for when, _ in loop.begun] == [0.0, 0.2]
    loop.run_until(1.0)
    assert [when for when, _ in loop.begun] == [0.0, 0.2, 0.45, 0.7]
    for handle in (2, 3, 4):
        loop.dials.on_error(handle, -errno.ECONNREFUSED)
    assert isinstance(future.exception(0), ConnectionRefusedError)
    assert not any(timer.call for timer in loop.timers)
    close_all(loop)


@pytest.mark.parametrize("backend", BACKENDS)
def test_pacing_with_real_sockets(backend: str, names: Names) -> None:
    """After refusals, silent addresses still begin one after the other."""
    with (
        ringnet.Engine(Recorder(), "tcp4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(Talker(), backend=backend, connect_attempt_delay=0.5) as client,
        Full() as silent,
    ):
        loop = client.engine.group.reactors[0]
        hanging = ("127.0.0.1", int(silent.rpartition(":")[2]))
        refused = ("127.0.0.1", closed_port())
        names.addresses = [refused] * 5 + [hanging] * 3 + [endpoint(engine)]
        future = client.register("tcp://several.test:1", 20)
        most = 0

        def look() -> bool:
            nonlocal most
            most = max(most, len(loop.dials.attempts))
            return future.done()

        until(look)
        assert future.result(WAIT).loop is loop.face
        assert most <= 4 + 1  # the three, the one that works, and a refused one on its way
        until(lambda: not loop.dials.attempts)
