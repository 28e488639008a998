"""The addresses of a name are tried as in RFC 8305, with real sockets."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import Future
from time import monotonic
from typing import Any

import pytest
import ringnet
from dial_tools import Full, Names, closed_port
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    Talker,
    endpoint,
    on_loop,
    open_descriptors,
    until,
)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def peer_of(conn: ringnet.Connection) -> Any:
    return on_loop(conn.loop, lambda: conn.remote_address)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("first", ["refused", "silent"])
def test_all_addresses_of_a_name_are_tried(backend: str, first: str, names: Names) -> None:
    """RFC 8305: a silent address delays the next for a moment, a refusal not at all."""
    delay = 0.05 if first == "silent" else 60.0
    with (
        ringnet.Engine(Recorder(), "tcp4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(Talker(), backend=backend, connect_attempt_delay=delay) as client,
        Full() as silent,
    ):
        bad = int(silent.rpartition(":")[2]) if first == "silent" else closed_port()
        names.addresses = [("127.0.0.1", bad), endpoint(engine)]
        assert peer_of(client.dial("tcp://several.test:1", timeout=10)) == endpoint(engine)
        until(lambda: not client.engine.group.reactors[0].dials.attempts)
        assert client.engine.count_connections() == 1
        assert names.threads.isdisjoint({client.engine.group.reactors[0].ident})  # off the loop
        assert names.threads


@pytest.mark.parametrize("backend", BACKENDS)
def test_ipv6_and_ipv4_take_turns(backend: str, names: Names) -> None:
    """RFC 8305, 4: a host whose IPv6 leads nowhere is reached after one failure, not after all."""
    with (
        ringnet.Engine(Recorder(), "tcp4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(Talker(), backend=backend, connect_attempt_delay=60.0) as client,
        socket.socket(socket.AF_INET6) as nobody,
        Full(socket.AF_INET6) as silent,
    ):
        nobody.bind(("::1", 0))
        silent6 = ("::1", int(silent.rpartition(":")[2]), 0, 0)
        # In this order the silent one would be second, and hold the third up for a minute.
        names.addresses = [nobody.getsockname(), silent6, endpoint(engine)]
        assert peer_of(client.dial("tcp://several.test:1", timeout=10)) == endpoint(engine)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_to_connect_wins_and_the_others_are_given_up(backend: str, names: Names) -> None:
    before = open_descriptors()
    talker = Talker()
    with (
        ringnet.Engine(Recorder(), "tcp4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(talker, backend=backend, connect_attempt_delay=0.01) as client,
        Full() as slow,
    ):
        names.addresses = [("127.0.0.1", int(slow.rpartition(":")[2]))] * 5 + [endpoint(engine)]
        conns = [client.register("tcp://several.test:1", 10).result(WAIT) for _ in range(10)]
        assert {peer_of(conn) for conn in conns} == {endpoint(engine)}
        until(lambda: not client.engine.group.reactors[0].dials.attempts)
        assert client.engine.count_connections() == 10
        assert talker.opened.qsize() == 10
    assert open_descriptors() == before


class Hold:
    """Keeps a loop inside one call until it is let go."""

    def __init__(self, loop: ringnet.EventLoop) -> None:
        self._held, self.let_go = threading.Event(), threading.Event()
        loop.execute(self._hold)
        assert self._held.wait(WAIT)

    def _hold(self) -> None:
        self._held.set()
        assert self.let_go.wait(WAIT)


def spin(seconds: float) -> None:
    """Use up time on the loop, so that a timer is due when the call returns."""
    end = monotonic() + seconds
    while monotonic() < end:
        pass


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("second", ["connects", "fails"])
def test_two_attempts_that_end_in_the_same_turn(backend: str, second: str, names: Names) -> None:
    """Both begin before the kernel is asked, so their results come together."""
    handler, talker = Recorder(), Talker()
    with (
        ringnet.Engine(handler, "tcp4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(talker, backend=backend, connect_attempt_delay=0.01) as client,
    ):
        loop = client.engine.group.reactors[0]
        other = endpoint(engine) if second == "connects" else ("127.0.0.1", closed_port())
        names.addresses = [endpoint(engine), other]
        names.may_answer.clear()
        future = client.register("tcp://several.test:1", 10)
        until(lambda: names.threads)
        hold = Hold(loop.face)
        names.may_answer.set()
        until(lambda: loop.mailbox)  # the answer
        loop.face.execute(lambda: spin(0.02))
        hold.let_go.set()
        conn = future.result(WAIT)
        until(lambda: not loop.dials.attempts)
        assert client.engine.count_connections() == 1
        assert talker.opened.get(timeout=WAIT) is conn
        conn.async_write(b"alive")
        assert talker.take(5) == b"alive"
    assert talker.opened.empty()


@pytest.mark.parametrize("backend", BACKENDS)
def test_stopping_in_the_turn_in_which_dials_fail(backend: str) -> None:
    port = closed_port()
    client = ringnet.Client(Talker(), backend=backend).start()
    loop = client.engine.reactors[0]
    futures: list[Future[ringnet.Connection]] = []

    def dial_and_stop() -> None:
        futures.extend(client.register(f"tcp://127.0.0.1:{port}") for _ in range(50))
        loop.execute(client.engine.request_stop)  # after they have begun

    loop.execute(dial_and_stop)
    assert client.engine.wait(WAIT)  # and raises nothing
    for future in futures:
        with pytest.raises((ConnectionRefusedError, ringnet.ConnectionClosed)):
            future.result(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_when_all_addresses_fail_each_is_named(backend: str, names: Names) -> None:
    names.addresses = [("255.255.255.255", 1), ("127.0.0.1", closed_port())]
    with ringnet.Client(Talker(), backend=backend) as client:
        with pytest.raises(ConnectionRefusedError, match=r"refused \(255\.255\.255\.255: .*nreach"):
            client.dial("tcp://several.test:1")
        with pytest.raises(ConnectionRefusedError):
            client.dial("tcp://several.test:1")  # and again: nothing was left behind
        until(lambda: not client.engine.group.reactors[0].dials.attempts)


@pytest.mark.parametrize("backend", BACKENDS)
def test_datagrams_go_to_the_next_address_too(backend: str, names: Names) -> None:
    talker = Talker()
    with (
        ringnet.Engine(Recorder(), "udp4://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(talker, backend=backend) as client,
    ):
        names.addresses = [("255.255.255.255", 1), endpoint(engine)]  # EACCES: no broadcasting
        client.dial("udp://several.test:1").async_write(b"hello")
        assert talker.take(5) == b"hello"
