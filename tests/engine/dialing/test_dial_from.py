"""Dialing from a chosen local address, and never from the very address that is dialed."""

from __future__ import annotations

import errno
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ringnet
from dial_tools import Names, closed_port
from engine_tools import BACKENDS, WAIT, Recorder, Talker, on_loop, open_descriptors
from namespace_tools import APART
from places import TOOLS


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


def ends(conn: ringnet.Connection) -> tuple[Any, Any]:
    return on_loop(conn.loop, lambda: (conn.local_address, conn.remote_address))


def free_port(host: str = "127.0.0.9") -> int:
    with socket.socket() as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


FORMS = ["127.0.0.9", "127.0.0.9:0", ("127.0.0.9", 0), "{}://127.0.0.9:0", "{}4://127.0.0.9:0"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", ["tcp", "udp"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_from_a_local_address(backend: str, scheme: str, form: Any) -> None:
    local = form.format(scheme) if isinstance(form, str) else form
    talker = Talker()
    with (
        ringnet.Engine(Recorder(), f"{scheme}://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(talker, backend=backend) as client,
    ):
        where = engine.addresses[0]
        conns = [
            client.dial(where, local_address=local),
            client.register(where, local_address=local).result(WAIT),
            client.engine.register(where, local_address=local).result(WAIT),
            client.engine.reactors[0].register(where, local_address=local).result(WAIT),
        ]
        for conn in conns:
            assert ends(conn)[0][0] == "127.0.0.9"
            assert ends(conn)[0][1] != 0
            conn.async_write(b"from")
            assert talker.take(4) == b"from"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", ["tcp", "udp"])
def test_from_a_local_port(backend: str, scheme: str) -> None:
    """Also again at once, while its last connection lingers."""
    port = free_port()
    with (
        ringnet.Engine(Recorder(), f"{scheme}://127.0.0.1:0", backend=backend) as engine,
        ringnet.Client(Talker(), backend=backend) as client,
    ):
        conn = client.dial(engine.addresses[0], local_address=f"127.0.0.9:{port}")
        assert ends(conn)[0] == ("127.0.0.9", port)
        for local in (f":{closed_port()}", ":0"):
            ends(client.dial(engine.addresses[0], local_address=local))
        with pytest.raises(OSError, match=f"from 127.0.0.9 port {port}: ") as caught:
            client.dial(engine.addresses[0], local_address=("127.0.0.9", port))
        assert caught.value.errno in (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ipv6_and_names(backend: str, names: Names) -> None:
    with (
        ringnet.Engine(
            Recorder(), "tcp://[::1]:0", "tcp4://127.0.0.1:0", backend=backend
        ) as engine,
        ringnet.Client(Talker(), backend=backend) as client,
    ):
        six = int(engine.addresses[0].rpartition(":")[2])
        four = int(engine.addresses[1].rpartition(":")[2])
        for local in ("::1", "[::1]", "[::1]:0", ("::1", 0), ("::1", 0, 0, 0), "tcp6://[::1]:0"):
            conn = client.dial(engine.addresses[0], local_address=local)
            assert ends(conn)[0][0] == "::1"
        # Of a name only those addresses are tried that go with it.
        names.addresses = [("::1", six, 0, 0), ("127.0.0.1", four)]
        for local, port in (("127.0.0.9", four), ("::1", six), (":0", six)):
            conn = client.dial("tcp://several.test:1", local_address=local)
            assert ends(conn)[1][1] == port


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_no_local_address(backend: str, tmp_path: Path) -> None:
    before = open_descriptors()
    with ringnet.Client(Talker(), backend=backend) as client:
        there = f"tcp://127.0.0.1:{closed_port()}"
        for wrong in (
            *["", "somewhere", "somewhere:0", "localhost:0", "127.0.0.9:", "127.0.0.9:65536"],
            *["127.0.0.9:-1", "[127.0.0.9]:0", "127.0.0.9:\u0663", "\uff11.0.0.1:0", "a\0b:0"],
            *["unix:///x", "udp://127.0.0.9:0", "fd://3", "tcp6://[::1]:0", "::1", "[::1]:0"],
            *["fe80::1%nosuch0", "\udc80", "x" * 10**6, b"127.0.0.9", 5, 1.5, True, {}],
            *[(), ("127.0.0.9",), ("127.0.0.9", "0"), ("127.0.0.9", 65_536), ("127.0.0.9", -1)],
            *[("127.0.0.9", True), (1, 2), ("::1", 0), ("localhost", 0), ("127.0.0.9", 1 << 70)],
        ):
            with pytest.raises(ringnet.AddressError) as caught:
                client.register(there, local_address=wrong)  # type: ignore[arg-type]
            assert len(str(caught.value)) < 1000
        with pytest.raises(ringnet.AddressError, match="TCP and UDP"):
            client.register(f"unix://{tmp_path}/s", local_address="127.0.0.9")
        with pytest.raises(OSError, match=r"from 192\.0\.2\.9 port 0") as refused:
            client.dial(there, local_address="192.0.2.9")
        assert refused.value.errno == errno.EADDRNOTAVAIL
        with pytest.raises(ConnectionRefusedError):
            client.dial(there, local_address="127.0.0.9")
    assert open_descriptors() == before


# A port of which the system would give us the other end

ITSELF = """
import socket, sys, ringnet
import kqueue_shim

kqueue_shim.install()
port = 40_001
with ringnet.Client(ringnet.EventHandler(), backend=sys.argv[1]) as client:
    for host in ("127.0.0.1", "[::1]"):
        for scheme in ("tcp", "udp"):
            for _ in range(60):
                try:
                    conn = client.dial(f"{scheme}://{host}:{port}")
                except ConnectionRefusedError:
                    continue
                assert scheme == "udp", "connected to nobody"
                with socket.socket(fileno=conn.fileno()) as sock:
                    assert sock.getsockname() != sock.getpeername()
                    sock.detach()
                conn.close()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(family, kind) as server:
                server.bind((host.strip("[]"), port))  # nothing lingers there
        try:
            client.dial(f"tcp://{host}:{port}", local_address=f"{host}:{port}")
        except ConnectionRefusedError:
            continue
        raise AssertionError("connected to itself")
print("done")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="network namespaces are Linux's")
@pytest.mark.parametrize("backend", BACKENDS)
def test_nobody_is_connected_to_himself(backend: str) -> None:
    assert shutil.which("unshare")
    prepare = (
        "ip link set lo up && echo 40000 40003 > /proc/sys/net/ipv4/ip_local_port_range && "
        'exec "$@"'
    )
    done = subprocess.run(
        [*APART, "sh", "-c", prepare, "sh", sys.executable, "-c", ITSELF, backend],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=TOOLS,
    )
    assert done.stdout == "done\n", done.stderr
