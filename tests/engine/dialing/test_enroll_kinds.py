"""Enrolling: what is no connected plain socket is refused at the call, and stays the caller's."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    Talker,
    on_loop,
    open_descriptors,
    receive,
    served,
    until,
)
from ringnet.engine.reactor.enrolling import check_socket


def lonely(kind: int = socket.SOCK_STREAM) -> socket.socket:
    return socket.socket(socket.AF_INET, kind)


def listening(family: int = socket.AF_INET) -> socket.socket:
    sock = socket.socket(family)
    sock.bind(("127.0.0.1", 0) if family == socket.AF_INET else "")
    sock.listen()
    return sock


def closed() -> socket.socket:
    sock = lonely()
    sock.close()
    return sock


def netlink() -> socket.socket:
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)
    sock.connect((0, 0))
    return sock


def pretended() -> socket.socket:
    """An object that says what its descriptor is not."""
    real = netlink()
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=real.detach())


def replaced() -> socket.socket:
    """Its descriptor has become a file."""
    sock = lonely()
    with open(os.devnull, "rb") as file:
        os.dup2(file.fileno(), sock.fileno())
    return sock


KINDS: dict[str, tuple[Callable[[], socket.socket], int]] = {
    "lonely": (lonely, errno.ENOTCONN),
    "lonely-udp": (lambda: lonely(socket.SOCK_DGRAM), errno.ENOTCONN),
    "listening": (listening, errno.ENOTCONN),
    "listening-unix": (lambda: listening(socket.AF_UNIX), errno.ENOTCONN),
    "closed": (closed, errno.EBADF),
    "netlink": (netlink, errno.EAFNOSUPPORT),
    "pretended": (pretended, errno.EAFNOSUPPORT),
    "replaced": (replaced, errno.ENOTSOCK),
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_sockets_that_cannot_be_enrolled(backend: str, kind: str) -> None:
    make, number = KINDS[kind]
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine:
        sock = make()
        fd = sock.fileno()
        for enroll in (engine.enroll, engine.reactors[0].enroll):
            with pytest.raises(OSError) as caught:  # noqa: PT011
                enroll(sock)
            assert caught.value.errno == number
            assert sock.fileno() == fd  # it is still the caller's
        sock.close()
        assert engine.count_connections() == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_socket(backend: str) -> None:
    with ringnet.Client(Talker(), backend=backend) as client:
        for wrong in (None, 3, "socket", open_descriptors, b""):
            with pytest.raises(TypeError, match=r"socket\.socket"):
                client.enroll(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_tls_socket(backend: str) -> None:
    """Plaintext would go onto the TLS connection."""
    ours, peer = socket.socketpair()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    tls = context.wrap_socket(ours, do_handshake_on_connect=False)
    with peer, tls, ringnet.Client(Talker(), backend=backend) as client:
        with pytest.raises(TypeError, match="unwrap"):
            client.enroll(tls)
        assert tls.fileno() >= 0
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(1)  # nothing was sent


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_number_that_a_closed_connection_had_is_free_at_once(backend: str) -> None:
    """The loop learns later that the backend has closed the descriptor."""
    with served(backend, Recorder()) as engine:
        ours, peer = socket.socketpair()
        conn = engine.enroll(ours).result(WAIT)
        number = conn.fileno()
        mine, other = socket.socketpair()
        with peer, mine, other:
            with pytest.raises(OSError, match="enrolled already"):
                check_socket(_numbered(number))
            os.dup2(mine.fileno(), number)  # as if it had been closed, and given again
            check_socket(_numbered(number))


def _numbered(fd: int) -> socket.socket:
    """A socket object that has a descriptor of somebody else's for the length of a call."""

    class Lent(socket.socket):
        def __del__(self) -> None:
            self.detach()

    return Lent(fileno=fd)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_descriptor_that_is_enrolled_already(backend: str) -> None:
    talker = Talker()
    with ringnet.Client(talker, backend=backend) as client:
        for waits in (True, False):
            ours, peer = socket.socketpair()
            twin = socket.socket(fileno=ours.fileno())
            future = client.engine.enroll(ours)
            if waits:
                future.result(WAIT)
            with pytest.raises(OSError, match="enrolled already") as caught:
                client.enroll(twin)
            assert caught.value.errno == errno.EBUSY
            twin.detach()
            conn = future.result(WAIT)
            conn.async_write(b"mine")
            assert receive(peer, 4) == b"mine"
            conn.close()
            peer.close()
            until(lambda: client.engine.count_connections() == 0)
            # The number is free again, and whoever has it then may be enrolled.
            ours, peer = socket.socketpair()
            client.enroll(ours)
            peer.close()
            until(lambda: client.engine.count_connections() == 0)


OPTIONS = {
    "tcp_nodelay": True,
    "tcp_keepalive": 70,
    "tcp_keepalive_interval": 11,
    "tcp_keepalive_count": 3,
    "linger": 0,
    "socket_receive_buffer": 50_000,
    "socket_send_buffer": 60_000,
}
BUFFERS = {"SO_RCVBUF": 100_000, "SO_SNDBUF": 120_000}
SET = {
    "TCP_NODELAY": 1,
    "SO_KEEPALIVE": 1,
    "TCP_KEEPIDLE": 70,
    "TCP_KEEPINTVL": 11,
    "TCP_KEEPCNT": 3,
    **BUFFERS,
}


def options_of(conn: ringnet.Connection) -> dict[str, int]:
    with socket.socket(fileno=os.dup(conn.fileno())) as sock:
        tcp = sock.family != socket.AF_UNIX
        found = {}
        for name in SET if tcp else BUFFERS:
            level = socket.IPPROTO_TCP if name.startswith("TCP") else socket.SOL_SOCKET
            found[name] = sock.getsockopt(level, getattr(socket, name))
        if tcp:
            linger = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, 8)
            assert struct.unpack("ii", linger) == (1, 0)
        return found


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_of_connections_whatever_way_they_come(backend: str, tmp_path: Any) -> None:
    inherited = socket.create_server(("127.0.0.1", 0))
    there = inherited.getsockname()
    handler = Recorder()
    early = socket.create_connection(there)  # before the options are set
    addresses = ["tcp://127.0.0.1:0", f"fd://{inherited.detach()}", f"unix://{tmp_path}/s"]
    with (
        early,
        ringnet.Engine(handler, *addresses, backend=backend, **OPTIONS) as engine,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(there) as late,
        socket.socket(socket.AF_UNIX) as unix,
    ):
        conns = [handler.expect("open"), handler.expect("open")]
        unix.connect(f"{tmp_path}/s")
        own = socket.create_connection(server.getsockname())
        dialed = engine.register(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        conns += [handler.expect("open"), dialed.result(WAIT), engine.enroll(own).result(WAIT)]
        ours, peer = socket.socketpair()
        conns += [engine.enroll(ours).result(WAIT)]
        for conn in conns:
            found = on_loop(conn.loop, lambda conn=conn: options_of(conn))
            assert found == (SET if len(found) > 2 else BUFFERS)
        peer.close()
        assert late.fileno() >= 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_of_an_inherited_socket_of_datagrams(backend: str) -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    options = {"socket_receive_buffer": 50_000, "socket_send_buffer": 60_000}
    with (
        ringnet.Engine(Recorder(), f"fd://{sock.detach()}", backend=backend, **options) as engine,
        engine.dup_listener() as copy,
    ):
        for name, value in BUFFERS.items():
            assert copy.getsockopt(socket.SOL_SOCKET, getattr(socket, name)) == value


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("timeout", [None, 0.0, 7.0])
def test_a_socket_that_a_busy_reactor_does_not_take_stays_the_callers(
    backend: str, timeout: float | None
) -> None:
    go_on = threading.Event()
    with served(backend, Recorder(), max_foreign_calls=8) as engine:
        loop = engine.reactors[0]
        loop.execute(lambda: go_on.wait(WAIT))
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(timeout)
            number = ours.fileno()
            try:
                until(lambda: fills(loop))
                for _ in range(2):
                    with pytest.raises(ringnet.QueueFull):
                        engine.enroll(ours)
                    assert (ours.fileno(), ours.gettimeout()) == (number, timeout)
                    assert ours.family == socket.AF_UNIX
            finally:
                go_on.set()
            theirs.sendall(b"still there")
            assert receive(ours, 11) == b"still there"
            until(lambda: not fills(loop))
            assert engine.enroll(ours).result(WAIT) is not None
            assert ours.fileno() == -1


def fills(loop: ringnet.EventLoop) -> bool:
    """Whether a reactor takes no more calls."""
    try:
        loop.execute(int)
    except ringnet.QueueFull:
        return True
    return False
