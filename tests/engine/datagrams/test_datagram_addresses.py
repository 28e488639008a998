"""Where datagrams may be sent: forms of addresses, and mistakes that raise at the call."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, udp_peer
from ringnet.engine.connection.destination import destination
from ringnet.sockaddr import unpack

V4, V6, UNIX = socket.AF_INET, socket.AF_INET6, socket.AF_UNIX


class Forward(Recorder):
    """Sends what arrives to an address."""

    def __init__(self, address: Any) -> None:
        super().__init__()
        self.address = address

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        try:
            conn.send_to(data, self.address)
        except Exception as error:
            conn.write(f"{type(error).__name__}: {error}".encode())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("address", ["udp://:0", "udp4://127.0.0.1:0", "udp://[::]:0"])
@pytest.mark.parametrize("form", [tuple, list])
def test_an_ipv4_host_and_port(backend: str, address: str, form: type) -> None:
    with socket.socket(V4, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        other.settimeout(WAIT)
        handler = Forward(form(other.getsockname()))
        with ringnet.Engine(handler, address, backend=backend) as engine, asker(engine) as peer:
            if address == "udp://[::]:0":
                peer.send(b"?")  # IPv6 alone
                assert b"cannot send to 127.0.0.1" in peer.recv(1000)
            else:
                peer.send(b"hello")
                assert other.recv(10) == b"hello"


def asker(engine: ringnet.Engine) -> socket.socket:
    port = int(engine.addresses[0].rpartition(":")[2])
    family, host = (V6, "::1") if "[" in engine.addresses[0] else (V4, "127.0.0.1")
    peer = socket.socket(family, socket.SOCK_DGRAM)
    peer.settimeout(WAIT)
    peer.connect((host, port))
    return peer


@pytest.mark.parametrize("backend", BACKENDS)
def test_mistakes_raise_at_the_call(backend: str) -> None:
    handler = Forward(("127.0.0.1", 70_000))
    with (
        ringnet.Engine(handler, "udp4://127.0.0.1:0", backend=backend) as engine,
        udp_peer(engine) as peer,
    ):
        peer.send(b"?")
        assert (
            peer.recv(1000) == b"ValueError: a port to send to must be from 1 to 65535, not 70000"
        )


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_path_that_is_too_long_raises_at_the_call(backend: str, tmp_path: Path) -> None:
    handler = Forward("x" * 200)
    with (
        ringnet.Engine(handler, f"unixgram://{tmp_path}/s", backend=backend),
        socket.socket(UNIX, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(f"{tmp_path}/peer")
        peer.settimeout(WAIT)
        for _ in range(2):  # and the reactor goes on
            peer.sendto(b"?", f"{tmp_path}/s")
            assert b"at most 107 bytes" in peer.recv(1000)


@pytest.mark.parametrize(
    ("family", "address", "kind"),
    [
        (V4, ("127.0.0.1",), TypeError),
        (V4, (), TypeError),
        (V4, "127.0.0.1:80", TypeError),
        (V4, None, TypeError),
        (V4, ("127.0.0.1", "80"), TypeError),
        (V4, ("127.0.0.1", 80.0), TypeError),
        (V4, ("127.0.0.1", True), TypeError),
        (V4, (b"127.0.0.1", 80), TypeError),
        (V4, ["127.0.0.1", []], TypeError),
        (V6, ("::1", 80, 0, 0, 0), TypeError),
        (V4, ("127.0.0.1", 0), ValueError),
        (V4, ("127.0.0.1", -1), ValueError),
        (V4, ("127.0.0.1", 65_536), ValueError),
        (V6, ("::1", 80, 1 << 20), ValueError),
        (V6, ("::1", 80, 0, -1), ValueError),
        (V6, ("::1", 80, 0, 1 << 32), ValueError),
        (V4, ("localhost", 80), OSError),
        (V4, ("", 80), OSError),
        (V4, ("127.0.0.1 and more", 80), OSError),
        (V4, ("127.1", 80), OSError),
        (V4, ("127.0.0.1\0", 80), OSError),
        (V4, ("\udc80", 80), OSError),
        (V4, ("::1", 80), OSError),
        (V6, ("fe80::1%nowhere", 80), OSError),
        (UNIX, ("path", 1), TypeError),
        (UNIX, None, TypeError),
        (UNIX, 5, TypeError),
        (UNIX, "", ValueError),
        (UNIX, "a\0b", ValueError),
        (UNIX, "x" * 108, OSError),
        (UNIX, "\0" + "x" * 108, OSError),
    ],
)
def test_what_is_no_address(family: int, address: Any, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        destination(family, address)
    assert type(caught.value) is kind
    assert "Error" not in str(caught.value)
    if kind is OSError:
        assert isinstance(caught.value, OSError)
        assert caught.value.errno in (
            errno.EINVAL,
            errno.EAFNOSUPPORT,
            errno.ENODEV,
            errno.ENAMETOOLONG,
        )


@pytest.mark.parametrize(
    ("family", "address", "is_that"),
    [
        (V4, ("127.0.0.1", 80), ("127.0.0.1", 80)),
        (V4, ("::ffff:127.0.0.1", 80), ("127.0.0.1", 80)),
        (V6, ("127.0.0.1", 80), ("::ffff:127.0.0.1", 80, 0, 0)),
        (V6, ["::1", 80], ("::1", 80, 0, 0)),
        (V6, ("fe80::1%1", 80), ("fe80::1%lo", 80, 0, 1)),
        (V6, ("fe80::1%lo", 80, 5, 0), ("fe80::1%lo", 80, 5, 1)),
        (UNIX, "x" * 107, "x" * 107),
        (UNIX, b"\0name", b"\0name"),
        (UNIX, "\0name", b"\0name"),
    ],
)
def test_what_is_an_address(family: int, address: Any, is_that: Any) -> None:
    assert unpack(destination(family, address)) == (family, is_that)
