"""Socket options, of an engine and of a connection."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, endpoint, on_loop

TCP, SOL = socket.IPPROTO_TCP, socket.SOL_SOCKET
OPTIONS = {
    "socket_receive_buffer": 50_000,
    "socket_send_buffer": 60_000,
    "tcp_keepalive": 70,
    "tcp_keepalive_interval": 11,
    "tcp_keepalive_count": 3,
    "tcp_nodelay": False,
    "linger": 4,
}


def look(conn: ringnet.Connection) -> dict[str, Any]:
    with socket.socket(fileno=conn.dup()) as sock:
        return {
            "receive": sock.getsockopt(SOL, socket.SO_RCVBUF),
            "send": sock.getsockopt(SOL, socket.SO_SNDBUF),
            "alive": sock.getsockopt(SOL, socket.SO_KEEPALIVE),
            "idle": sock.getsockopt(TCP, socket.TCP_KEEPIDLE),
            "interval": sock.getsockopt(TCP, socket.TCP_KEEPINTVL),
            "count": sock.getsockopt(TCP, socket.TCP_KEEPCNT),
            "nodelay": sock.getsockopt(TCP, socket.TCP_NODELAY),
            "linger": struct.unpack("ii", sock.getsockopt(SOL, socket.SO_LINGER, 8)),
        }


EXPECTED = {
    "receive": 100_000,  # Linux doubles it for its own books: socket(7)
    "send": 120_000,
    "alive": 1,
    "idle": 70,
    "interval": 11,
    "count": 3,
    "nodelay": 0,
    "linger": (1, 4),
}


def first_connection(handler: Recorder) -> ringnet.Connection:
    conn: ringnet.Connection = handler.expect("open")
    return conn


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_of_the_engine_reach_accepted_and_dialed_connections(backend: str) -> None:
    handler = Recorder()
    with (
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, **OPTIONS) as engine,
        dial(engine),
    ):
        conn = first_connection(handler)
        assert on_loop(conn.loop, lambda: look(conn)) == EXPECTED
        dialed = engine.register(engine.addresses[0]).result(WAIT)
        assert on_loop(dialed.loop, lambda: look(dialed)) == EXPECTED


@pytest.mark.parametrize("backend", BACKENDS)
def test_options_of_a_connection(backend: str) -> None:
    handler = Recorder()
    with (
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine),
    ):
        conn = first_connection(handler)

        def change() -> None:
            conn.set_read_buffer(50_000)
            conn.set_write_buffer(60_000)
            conn.set_keep_alive(True, 70, 11, 3)
            conn.set_no_delay(False)
            conn.set_linger(4)
            conn.set_bind_to_device("")

        assert on_loop(conn.loop, lambda: look(conn))["alive"] == 0
        on_loop(conn.loop, change)
        assert on_loop(conn.loop, lambda: look(conn)) == EXPECTED
        on_loop(conn.loop, lambda: conn.set_keep_alive(False))
        on_loop(conn.loop, lambda: conn.set_linger(-1))
        found = on_loop(conn.loop, lambda: look(conn))
        assert (found["alive"], found["linger"][0]) == (0, 0)


@pytest.mark.parametrize(
    ("change", "says", "number"),
    [
        (lambda c: c.set_keep_alive(True, idle=1 << 20), "TCP_KEEPIDLE", errno.EINVAL),
        (lambda c: c.set_bind_to_device("nosuch0"), "SO_BINDTODEVICE", errno.ENODEV),
        (lambda c: c.set_multicast_interface("nosuch0"), "multicast interface", errno.ENODEV),
        (lambda c: c.set_multicast_interface(1 << 30), "IP_MULTICAST_IF", errno.EINVAL),
        (lambda c: c.set_keep_alive(True, interval=0), "TCP_KEEPINTVL", errno.EINVAL),
        (lambda c: c.set_keep_alive(True, count=0), "TCP_KEEPCNT", errno.EINVAL),
    ],
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_the_system_refuses_has_its_errno_and_the_name(
    backend: str, change: Callable[[Any], None], says: str, number: int
) -> None:
    handler = Recorder()
    with (
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine),
    ):
        conn = first_connection(handler)
        with pytest.raises(OSError, match=says) as caught:
            on_loop(conn.loop, lambda: change(conn))
        assert caught.value.errno == number


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_unix_socket_has_no_delay_to_set(backend: str, tmp_path: Any) -> None:
    handler = Recorder()
    with (
        ringnet.Engine(handler, f"unix://{tmp_path}/s", backend=backend),
        socket.socket(socket.AF_UNIX) as client,
    ):
        client.connect(f"{tmp_path}/s")
        conn = first_connection(handler)
        with pytest.raises(OSError, match="TCP_NODELAY=1 was refused") as caught:
            on_loop(conn.loop, lambda: conn.set_no_delay(True))
        assert caught.value.errno == errno.EOPNOTSUPP
        on_loop(conn.loop, lambda: conn.set_write_buffer(60_000))  # that it has


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_that_an_option_cannot_have(backend: str) -> None:
    handler = Recorder()
    with (
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine),
    ):
        conn = first_connection(handler)
        wrong: dict[str, Callable[[], None]] = {
            "SO_RCVBUF": lambda: conn.set_read_buffer(1 << 40),
            "SO_RCVBUF must be 1 byte": lambda: conn.set_read_buffer(-1),
            "SO_SNDBUF": lambda: conn.set_write_buffer(0),
            "SO_LINGER": lambda: conn.set_linger(1 << 40),
            "TCP_KEEPIDLE": lambda: conn.set_keep_alive(True, idle=1 << 40),
        }
        for says, call in wrong.items():
            with pytest.raises(ValueError, match=says):
                on_loop(conn.loop, call)


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_engine_for_a_device_that_is_not_there(backend: str) -> None:
    options = {"backend": backend, "bind_to_device": "nosuch0"}
    with pytest.raises(ringnet.BindError, match="SO_BINDTODEVICE") as caught:
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options).start()
    assert caught.value.errno == errno.ENODEV
    with (
        ringnet.Client(Recorder(), **options) as client,
        pytest.raises(OSError, match="SO_BINDTODEVICE"),
    ):
        client.dial("tcp://127.0.0.1:1")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("interface", ["nosuch0", 1 << 30])
def test_a_group_on_an_interface_that_is_not_there(backend: str, interface: str | int) -> None:
    options = {"backend": backend, "multicast_interface": interface}
    with pytest.raises(ringnet.BindError, match=r"multicast interface|IP_"):
        ringnet.Engine(Recorder(), "udp4://239.255.77.79:0", **options).start()


@pytest.mark.parametrize("backend", BACKENDS)
def test_bound_to_the_loopback(backend: str) -> None:
    options = {"backend": backend, "bind_to_device": "lo"}
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"x")
        assert client.recv(1) == b"x"


def multicast_sender() -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    request = struct.pack("4s4si", bytes(4), bytes(4), socket.if_nametoindex("lo"))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
    sock.settimeout(WAIT)
    return sock


@pytest.mark.parametrize("backend", BACKENDS)
def test_groups_are_joined_and_left(backend: str) -> None:
    group = "239.255.77.77"  # one of IPv6 is in test_ipv6_scopes.py
    with (
        ringnet.Engine(Recorder(), "udp4://0.0.0.0:0", backend=backend) as engine,
        multicast_sender() as peer,
    ):
        there = (group, endpoint(engine)[1])
        engine.listeners[0].join_group(group, "lo")
        peer.sendto(b"to the group", there)
        assert peer.recv(100) == b"to the group"
        engine.listeners[0].leave_group(group, "lo")
        with pytest.raises(OSError, match="IP_DROP_MEMBERSHIP"):
            engine.listeners[0].leave_group(group, "lo")
        peer.sendto(b"nobody", there)
        peer.sendto(b"direct", ("127.0.0.1", there[1]))
        assert peer.recv(100) == b"direct"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("interface", ["lo", socket.if_nametoindex("lo")])
def test_an_address_that_is_a_group_is_joined(backend: str, interface: str | int) -> None:
    options = {"backend": backend, "multicast_interface": interface}
    with (
        ringnet.Engine(Recorder(), "udp4://239.255.77.78:0", **options) as engine,
        multicast_sender() as peer,
    ):
        peer.sendto(b"hello", endpoint(engine))
        assert peer.recv(100) == b"hello"
