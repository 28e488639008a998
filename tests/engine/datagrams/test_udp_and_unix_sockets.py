"""UDP and Unix sockets through the whole engine."""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, Talker, on_loop, receive, udp_peer, until

UNIX = {
    "unix": socket.SOCK_STREAM,
    "unixgram": socket.SOCK_DGRAM,
    "unixpacket": socket.SOCK_SEQPACKET,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("address", ["udp://127.0.0.1:0", "udp4://127.0.0.1:0", "udp6://[::1]:0"])
@pytest.mark.parametrize("size", [0, 1, 1400, 65_507])
def test_each_datagram_is_one_on_traffic(backend: str, address: str, size: int) -> None:
    seen: list[tuple[Any, bytes, Any, Any]] = []

    class Echo(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            assert isinstance(conn, ringnet.Datagram)
            data = conn.next()
            assert conn.listener is not None
            seen.append((conn.remote_address, data, conn.listener.address, conn.local_address))
            conn.write(data)

    handler = Echo()
    with (
        ringnet.Engine(handler, address, backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        for _ in range(3):
            data = os.urandom(size)
            peer.send(data)
            assert peer.recv(1 << 17) == data
            assert seen.pop() == (
                peer.getsockname(),
                data,
                engine.addresses[0],
                peer.getpeername(),
            )
        assert engine.count_connections() == 0
    assert handler.expect("shutdown") == 0  # and neither open nor close before


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_left_of_a_datagram_is_gone(backend: str) -> None:
    class FirstTwo(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            assert conn.inbound_buffered == 5
            with pytest.raises(ringnet.ShortBuffer):
                conn.next(6)
            assert conn.peek(3) == conn.peek()[:3]
            conn.writev([conn.next(2), b"!"])

    with (
        ringnet.Engine(FirstTwo(), "udp://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        for data in (b"abcde", b"fghij"):
            peer.send(data)
            assert peer.recv(10) == data[:2] + b"!"


@pytest.mark.parametrize("backend", BACKENDS)
def test_send_to_another_address(backend: str) -> None:
    class Forward(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            data = conn.next()
            port = int(data[:5])
            conn.send_to(data[5:], ("127.0.0.1", port))

    with (
        ringnet.Engine(Forward(), "udp4://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        other.bind(("127.0.0.1", 0))
        other.settimeout(WAIT)
        peer.send(b"%05dhello" % other.getsockname()[1])
        data, sender = other.recvfrom(100)
        assert data == b"hello"
        assert sender == peer.getpeername()


@pytest.mark.parametrize("backend", BACKENDS)
def test_truncation_is_counted_and_logged(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    options = {"backend": backend, "max_datagram": 100}
    with (
        ringnet.Engine(Recorder(), "udp://127.0.0.1:0", **options) as engine,
        udp_peer(engine) as peer,
    ):
        peer.send(b"x" * 101)
        peer.send(b"y" * 100)
        assert peer.recv(1000) == b"y" * 100
        assert engine.group.reactors[0].endpoints.truncated == 1
    assert "max_datagram=100" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", ["unixgram", "unixpacket"])
def test_truncation_of_unix_packets(
    backend: str, scheme: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"{tmp_path}/s"
    options = {"backend": backend, "max_datagram": 100}
    kind = socket.SOCK_DGRAM if scheme == "unixgram" else socket.SOCK_SEQPACKET
    with (
        ringnet.Engine(Recorder(), f"{scheme}://{path}", **options) as engine,
        socket.socket(socket.AF_UNIX, kind) as peer,
    ):
        peer.settimeout(WAIT)
        peer.bind(f"{tmp_path}/peer")
        peer.connect(path)
        peer.send(b"x" * 101)
        peer.send(b"y" * 100)
        assert peer.recv(1000) == b"y" * 100
        assert engine.group.reactors[0].endpoints.truncated == 1
    assert "max_datagram=100" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_truncation_of_what_was_dialed(backend: str, caplog: pytest.LogCaptureFixture) -> None:
    talker = Talker()
    options = {"backend": backend, "max_datagram": 100}
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
        ringnet.Client(talker, **options) as client,
    ):
        peer.bind(("127.0.0.1", 0))
        conn = client.dial(f"udp://127.0.0.1:{peer.getsockname()[1]}")
        for size in (101, 100):
            peer.sendto(b"z" * size, on_loop(conn.loop, lambda: conn.local_address))
        assert talker.take(100) == b"z" * 100
        assert client.engine.group.reactors[0].endpoints.truncated == 1
    assert "max_datagram=100" in caplog.text


@pytest.mark.parametrize("backend", BACKENDS)
def test_mistakes_with_datagrams_raise_at_the_call(backend: str) -> None:
    raised: list[str] = []

    class Wrong(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            for call in (
                lambda: conn.write(b"x" * 65_508),
                lambda: conn.write("text"),  # type: ignore[arg-type]
                lambda: conn.send_to(b"x", ("no address", 1)),
            ):
                try:
                    call()
                except Exception as error:
                    raised.append(type(error).__name__)
            conn.close()
            assert not {"close_now", "reset", "shutdown_write"} & set(dir(conn))
            conn.write(b"still answered")

    with (
        ringnet.Engine(Wrong(), "udp4://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        peer.send(b"go")
        assert peer.recv(100) == b"still answered"
    assert raised == ["ValueError", "TypeError", "OSError"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_from_another_thread(backend: str) -> None:
    def later(conn: ringnet.Connection, data: bytes) -> None:
        conn.async_write(data[::-1])

    class Aside(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            threading.Thread(target=later, args=(conn, conn.next())).start()

    with (
        ringnet.Engine(Aside(), "udp://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        peer.send(b"later")
        assert peer.recv(100) == b"retal"


@pytest.mark.parametrize("backend", BACKENDS)
def test_mistakes_on_other_threads_raise_there_and_harm_nobody(
    backend: str, tmp_path: Path
) -> None:
    kept: Queue[Any] = Queue()

    class Keep(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            kept.put(conn)

    addresses = ("udp4://127.0.0.1:0", f"unixgram://{tmp_path}/g", f"unixpacket://{tmp_path}/p")
    with (
        ringnet.Engine(Keep(), *addresses, backend=backend) as engine,
        udp_peer(engine) as udp,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as packets,
    ):
        udp.send(b"?")
        conn = kept.get(timeout=WAIT)
        with pytest.raises(ValueError, match="at most 65507 bytes"):
            conn.async_write(bytes(65_508))
        with pytest.raises(ValueError, match="at most 65507 bytes"):
            conn.async_writev([bytes(65_507), b"x"])
        nameless.sendto(b"?", f"{tmp_path}/g")
        told: Queue[Any] = Queue()
        kept.get(timeout=WAIT).async_write(b"!", lambda conn, error: told.put(error))
        assert isinstance(told.get(timeout=WAIT), ringnet.UsageError)  # it has no address
        packets.settimeout(WAIT)
        packets.connect(f"{tmp_path}/p")
        packets.send(b"?")
        with pytest.raises(ValueError, match="empty packet"):
            kept.get(timeout=WAIT).async_write(b"")
        conn.async_write(b"still answered")
        assert udp.recv(100) == b"still answered"


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_senders_and_reactors_lose_nothing(backend: str) -> None:
    options = {"backend": backend, "reactors": 2, "reuse_port": True}
    with ringnet.Engine(Recorder(), "udp://127.0.0.1:0", **options) as engine:
        peers = [udp_peer(engine) for _ in range(20)]
        for turn in range(20):
            for number, peer in enumerate(peers):
                peer.send(b"%d:%d" % (turn, number))
            for number, peer in enumerate(peers):
                assert peer.recv(100) == b"%d:%d" % (turn, number)
        for peer in peers:
            peer.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["path", "name"])
def test_unix_streams(backend: str, kind: str, tmp_path: Path) -> None:
    address = "unix://@ringnet-test-" + backend if kind == "name" else f"unix://{tmp_path}/s"
    where = address.removeprefix("unix://").replace("@", "\0")
    handler = Recorder()
    with ringnet.Engine(handler, address, backend=backend, reactors=2) as engine:
        assert engine.addresses == (address,)
        for size in (1, 100_000, 3_000_000):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(WAIT)
                client.connect(where)
                data = os.urandom(size)
                sender = threading.Thread(target=client.sendall, args=(data,))
                sender.start()
                assert receive(client, size) == data
                sender.join()
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", UNIX)
def test_a_stale_socket_file_is_replaced_and_one_in_use_is_an_error(
    backend: str, scheme: str, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, UNIX[scheme]) as old:
        old.bind(str(path))
    assert path.exists()  # a process that crashed leaves it so
    with ringnet.Engine(Recorder(), f"{scheme}://{path}", backend=backend):
        assert stat.S_ISSOCK(path.stat().st_mode)
        with pytest.raises(ringnet.BindError, match=r"s.*another process") as caught:
            ringnet.Engine(Recorder(), f"{scheme}://{path}", backend=backend).start()
        assert caught.value.errno == errno.EADDRINUSE
        with socket.socket(socket.AF_UNIX, UNIX[scheme]) as client:
            client.connect(str(path))  # the trial has not harmed the one that serves
    assert not path.exists()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", UNIX)
def test_an_abstract_name_in_use_is_an_error_and_free_afterwards(backend: str, scheme: str) -> None:
    address = f"{scheme}://@ringnet-test-{os.getpid()}-{backend}"
    for _ in range(2):
        with ringnet.Engine(Recorder(), address, backend=backend) as engine:
            assert engine.addresses == (address,)
            with pytest.raises(ringnet.BindError, match="another process") as caught:
                ringnet.Engine(Recorder(), address, backend=backend).start()
            assert caught.value.errno == errno.EADDRINUSE


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(ringnet.BindError, match="not a socket"):
        ringnet.Engine(Recorder(), f"unix://{path}").start()
    assert path.read_text() == "data"


def test_a_file_of_somebody_else_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with ringnet.Engine(Recorder(), f"unix://{path}"):
        path.unlink()
        path.write_text("another's")
    assert path.read_text() == "another's"


@pytest.mark.parametrize("backend", BACKENDS)
def test_unix_datagrams(backend: str, tmp_path: Path) -> None:
    answers: list[Any] = []

    class Echo(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            answers.append(conn.remote_address)
            try:
                conn.write(conn.next())
            except ringnet.UsageError as error:
                answers.append(str(error))

    path = f"{tmp_path}/server"
    with (
        ringnet.Engine(Echo(), f"unixgram://{path}", backend=backend),
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless,
    ):
        peer.settimeout(WAIT)
        peer.bind(f"{tmp_path}/peer")
        for data in (b"", b"one", b"x" * 60_000):
            peer.sendto(data, path)
            assert peer.recv(1 << 17) == data
        nameless.sendto(b"who am I", path)
        until(lambda: len(answers) == 5)
    assert answers[:4] == [f"{tmp_path}/peer"] * 3 + [""]
    assert "no address to answer to" in answers[4]


@pytest.mark.parametrize("backend", BACKENDS)
def test_unix_packets(backend: str, tmp_path: Path) -> None:
    handler = Recorder()
    path = f"{tmp_path}/server"
    with (
        ringnet.Engine(handler, f"unixpacket://{path}", backend=backend, reactors=2),
        socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as peer,
    ):
        peer.settimeout(WAIT)
        peer.connect(path)
        sent = [b"x" * n for n in (1, 2, 60_000, 3)]
        for data in sent:
            peer.send(data)
        assert [peer.recv(1 << 17) for _ in sent] == sent
        conn = handler.expect("open")
        assert isinstance(conn, ringnet.PacketConnection)
        with pytest.raises(ValueError, match="empty packet"):
            on_loop(conn.loop, lambda: conn.write(b""))
        peer.shutdown(socket.SHUT_WR)
        assert peer.recv(10) == b""
        assert handler.expect("close") is None


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("unix://", "server.sock"),
        ("unix://@", "without a file"),
        ("unix://" + "x" * 108, "longer than 107 bytes"),
        ("udp://127.0.0.1", "HOST:PORT"),
    ],
)
def test_addresses_that_are_none(address: str, says: str) -> None:
    with pytest.raises(ringnet.AddressError, match=says):
        ringnet.Engine(Recorder(), address)
