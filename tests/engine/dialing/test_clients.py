"""Clients."""

from __future__ import annotations

import errno
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
import ringnet
from dial_tools import Full, closed_port
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    Talker,
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
        until(lambda: not client.engine.group.reactors[0].dials.attempts)
    assert open_descriptors() == before


@pytest.mark.parametrize("backend", BACKENDS)
def test_unreachable(backend: str) -> None:
    """No TCP connection can go to the broadcast address: the system says so, and sends nothing."""
    with ringnet.Client(Talker(), backend=backend) as client:
        with pytest.raises(OSError, match=r"cannot connect to tcp4://255.*nreachable") as caught:
            client.dial("tcp4://255.255.255.255:80")
        assert caught.value.errno == errno.ENETUNREACH


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dial_that_takes_too_long(backend: str) -> None:
    with Full() as address, ringnet.Client(Talker(), backend=backend) as client:
        with pytest.raises(TimeoutError, match=r"longer than 0\.2 s") as caught:
            client.dial(address, timeout=0.2)
        assert caught.value.errno == errno.ETIMEDOUT
        until(lambda: not client.engine.group.reactors[0].dials.attempts)


@pytest.mark.parametrize("backend", BACKENDS)
def test_stopping_ends_what_is_being_dialed(backend: str) -> None:
    with Full() as address:
        client = ringnet.Client(Talker(), backend=backend).start()
        future = client.register(address)
        until(lambda: client.engine.group.reactors[0].dials.attempts)
        assert client.stop()
        with pytest.raises(ringnet.ConnectionClosed):
            future.result(WAIT)


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
        with pytest.raises(TypeError, match="uses that engine's options"):
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
        until(lambda: not engine.group.reactors[0].dials.attempts)
        assert engine.count_connections() == 0


def test_a_client_that_does_not_run() -> None:
    with pytest.raises(ringnet.EngineStateError):
        ringnet.Client(Talker()).dial("tcp://127.0.0.1:1")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_datagram_that_nobody_wants_closes_with_the_error(backend: str) -> None:
    talker = Talker()
    nobody = "udp://127.0.0.1:1"  # no port that the system might give to somebody meanwhile
    with ringnet.Client(talker, backend=backend) as client:
        conn = client.dial(nobody)
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
