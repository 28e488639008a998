"""G14: clients."""

from __future__ import annotations

import errno
import socket
import threading
from concurrent.futures import Future
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import ringnet
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

SCHEMES = ["tcp://127.0.0.1:0", "tcp6://[::1]:0", "udp://127.0.0.1:0", "udp6://[::1]:0"]
PATHS = ["unix://{}/s", "unixgram://{}/s", "unixpacket://{}/s", "unix://@ringnet-{}"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", SCHEMES + PATHS)
def test_dial_speaks_every_scheme(backend: str, scheme: str, tmp_path: Path) -> None:
    address = scheme.format(tmp_path.name if "@" in scheme else tmp_path)
    talker = Talker()
    before = open_descriptors()
    with (
        ringnet.Engine(Recorder(), address, backend=backend) as engine,
        ringnet.Client(talker, backend=backend) as client,
    ):
        assert client.engine.backend == backend
        conn = client.dial(engine.addresses[0], context={"mine": 1})
        assert talker.opened.get(timeout=WAIT) is conn
        assert conn.context == {"mine": 1}
        assert conn.listener is None
        for data in (b"hello", b"x" * 1000):
            conn.async_write(data)
            assert talker.take(len(data)) == data
        assert client.engine.count_connections() == 1
        conn.close()
        assert talker.closed.get(timeout=WAIT) is None
        until(lambda: client.engine.count_connections() == 0)
    assert open_descriptors() == before


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_failure_has_its_own_error(backend: str, tmp_path: Path) -> None:
    before = open_descriptors()
    with ringnet.Client(Talker(), backend=backend) as client:
        with pytest.raises(ConnectionRefusedError, match=r"cannot connect to tcp://127\.0\.0\.1"):
            client.dial(f"tcp://127.0.0.1:{closed_port()}")
        with pytest.raises(FileNotFoundError, match="unix://"):
            client.dial(f"unix://{tmp_path}/nobody")
        with pytest.raises(socket.gaierror, match=r"no-such-host\.invalid"):
            client.dial("tcp://no-such-host.invalid:80")
        with pytest.raises(ringnet.AddressError):
            client.dial("tcp://127.0.0.1")
        with pytest.raises(ValueError, match="more than 0 seconds"):
            client.dial("tcp://127.0.0.1:1", timeout=0)
        assert client.engine.count_connections() == 0
        until(lambda: not client.engine.reactors[0].dials)
    assert open_descriptors() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_unreachable(backend: str) -> None:
    """No TCP connection can go to the broadcast address: the system says so, and sends nothing."""
    with ringnet.Client(Talker(), backend=backend) as client:
        with pytest.raises(OSError, match=r"cannot connect to tcp4://255.*nreachable") as caught:
            client.dial("tcp4://255.255.255.255:80")
        assert caught.value.errno == errno.ENETUNREACH


class Full:
    """A listener whose backlog is full: it answers no newcomer."""

    def __init__(self, family: int = socket.AF_INET) -> None:
        self.family = family

    def __enter__(self) -> str:
        self.sock = socket.socket(self.family)
        self.sock.bind(("127.0.0.1" if self.family == socket.AF_INET else "::1", 0))
        self.sock.listen(0)
        self.waiting = []
        for _ in range(8):
            peer = socket.socket(self.family)
            peer.setblocking(False)
            peer.connect_ex(self.sock.getsockname())
            self.waiting.append(peer)
        return f"tcp://127.0.0.1:{self.sock.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        for peer in (self.sock, *self.waiting):
            peer.close()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dial_that_takes_too_long(backend: str) -> None:
    with Full() as address, ringnet.Client(Talker(), backend=backend) as client:
        with pytest.raises(TimeoutError, match=r"longer than 0\.2 s") as caught:
            client.dial(address, timeout=0.2)
        assert caught.value.errno == errno.ETIMEDOUT
        until(lambda: not client.engine.reactors[0].dials)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stopping_ends_what_is_being_dialed(backend: str) -> None:
    with Full() as address:
        client = ringnet.Client(Talker(), backend=backend).start()
        future = client.register(address)
        until(lambda: client.engine.reactors[0].dials)
        assert client.stop()
        with pytest.raises(ringnet.ConnectionClosed):
            future.result(WAIT)


class Names:
    """Takes the resolver's place for the name `several.test`, and notes on which threads it ran."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.addresses: list[Any] = []  # as `socket.connect` has them
        self.threads: set[int] = set()
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._real = socket.getaddrinfo
        patch.setattr(socket, "getaddrinfo", self.answer)

    def answer(self, host: Any, *rest: Any, **more: Any) -> Any:
        if host != "several.test":
            return self._real(host, *rest, **more)
        if more.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        self.threads.add(threading.get_ident())
        assert self.may_answer.wait(WAIT)
        return [
            (socket.AF_INET6 if ":" in where[0] else socket.AF_INET, more["type"], 0, "", where)
            for where in self.addresses
        ]


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
        until(lambda: not client.engine.reactors[0].dials)
        assert client.engine.count_connections() == 1
        assert names.threads.isdisjoint({client.engine.reactors[0].ident})  # off the loop
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
        until(lambda: not client.engine.reactors[0].dials)
        assert client.engine.count_connections() == 10
        assert talker.opened.qsize() == 10
    assert open_descriptors() == before


class Hold:
    """Keeps a loop inside one call until it is let go."""

    def __init__(self, loop: ringnet.Reactor) -> None:
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
        loop = client.engine.reactors[0]
        other = endpoint(engine) if second == "connects" else ("127.0.0.1", closed_port())
        names.addresses = [endpoint(engine), other]
        names.may_answer.clear()
        future = client.register("tcp://several.test:1", 10)
        until(lambda: names.threads)
        hold = Hold(loop)
        names.may_answer.set()
        until(lambda: loop._foreign)  # the answer
        loop.execute(lambda: spin(0.02))
        hold.let_go.set()
        conn = future.result(WAIT)
        until(lambda: not loop.dials)
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
        until(lambda: not client.engine.reactors[0].dials)


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_enroll_takes_sockets_of_any_kind(backend: str) -> None:
    before = open_descriptors()
    talker = Talker()
    kinds = [socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_SEQPACKET]
    with ringnet.Client(talker, backend=backend, reactors=2) as client:
        for kind in kinds:
            ours, peer = socket.socketpair(socket.AF_UNIX, kind)
            peer.settimeout(WAIT)
            conn = client.enroll(ours, context=kind)
            assert ours.fileno() == -1
            assert conn.context == kind
            peer.send(b"to us")
            assert talker.take(5) == b"to us"
            conn.async_write(b"from us")
            assert peer.recv(100) == b"from us"
            conn.close()
            peer.close()
            assert talker.closed.get(timeout=WAIT) is None
        with socket.socket() as lonely, pytest.raises(OSError) as caught:  # noqa: PT011
            client.enroll(lonely)
        assert caught.value.errno == errno.ENOTCONN
    assert open_descriptors() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_shares_the_reactors_of_a_server(backend: str) -> None:
    talker, handler = Talker(), Recorder()
    with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine:
        threads = threading.active_count()
        with ringnet.Client(talker, engine=engine) as client:
            conn = client.dial(engine.addresses[0])
            assert threading.active_count() == threads
            assert conn.loop is engine.reactors[0]
            conn.async_write(b"ping")
            assert talker.take(4) == b"ping"
            assert engine.count_connections() == 2
        assert talker.closed.get(timeout=WAIT) is None
        until(lambda: engine.count_connections() == 0)
        engine.validate()
        handler.expect("open")
        handler.expect("close")
        with pytest.raises(TypeError, match="has that engine's options"):
            ringnet.Client(talker, engine=engine, reactors=2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_client_that_stops_ends_its_dials_on_shared_reactors(backend: str) -> None:
    with (
        Full() as silent,
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine,
    ):
        client, other = (ringnet.Client(Talker(), engine=engine).start() for _ in range(2))
        mine, others = client.register(silent), other.register(silent, timeout=0.3)
        client.stop()
        with pytest.raises(ringnet.ConnectionClosed, match="client has stopped"):
            mine.result(WAIT)
        with pytest.raises(TimeoutError, match="longer than"):  # which goes on
            others.result(WAIT)
        until(lambda: not engine.reactors[0].dials)
        assert engine.count_connections() == 0


def test_a_client_that_does_not_run() -> None:
    with pytest.raises(ringnet.EngineStateError):
        ringnet.Client(Talker()).dial("tcp://127.0.0.1:1")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_datagram_that_nobody_wants_closes_with_the_error(backend: str) -> None:
    talker = Talker()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    with ringnet.Client(talker, backend=backend) as client:
        conn = client.dial(f"udp://127.0.0.1:{port}")
        conn.async_write(b"anybody?")
        assert isinstance(talker.closed.get(timeout=WAIT), ConnectionRefusedError)


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_connections_of_one_client(backend: str) -> None:
    count = 300 if backend == "select" else 2_000
    talker = Talker()
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend, reactors=2) as engine,
        ringnet.Client(talker, backend=backend, reactors=2) as client,
    ):
        futures = [client.register(engine.addresses[0]) for _ in range(count)]
        conns = [future.result(WAIT) for future in futures]
        for conn in conns:
            conn.async_write(b"12345678")
        assert len(talker.take(8 * count)) == 8 * count
        assert client.engine.count_connections() == count
    for _ in range(count):
        assert talker.closed.get(timeout=WAIT) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_stopping_ends_a_dial_whose_name_is_not_known_yet(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, let_go, asked = socket.getaddrinfo, threading.Event(), threading.Event()

    def slow(host: Any, *rest: Any, **more: Any) -> Any:
        if host != "slow.test":
            return real(host, *rest, **more)
        if more.get("flags"):
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        asked.set()
        assert let_go.wait(WAIT)
        return real("127.0.0.1", *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    client = ringnet.Client(Talker(), backend=backend).start()
    try:
        future = client.register("tcp://slow.test:1")
        assert asked.wait(WAIT)
        assert client.stop()
        with pytest.raises(ringnet.ConnectionClosed):
            future.result(WAIT)
    finally:
        let_go.set()


def test_stopping_in_on_boot() -> None:
    class Stops(Recorder):
        def on_boot(self, engine: ringnet.Engine) -> None:
            engine.stop()

    engine = ringnet.Engine(Stops(), "tcp://127.0.0.1:0").start()
    assert engine.wait(WAIT)
