"""Several addresses of mixed schemes in one engine."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, endpoint, udp_peer


@pytest.mark.parametrize("backend", BACKENDS)
def test_mixed_schemes_in_one_engine(backend: str, tmp_path: Path) -> None:
    class Name(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            assert conn.listener is not None
            conn.write(conn.listener.scheme.encode())

    addresses = [
        "tcp4://127.0.0.1:0",
        "udp4://127.0.0.1:0",
        "tcp6://[::1]:0",
        f"unix://{tmp_path}/u",
        f"unixgram://{tmp_path}/g",
        f"unixpacket://{tmp_path}/p",
    ]
    with ringnet.Engine(Name(), *addresses, backend=backend, reactors=2) as engine:
        assert [listener.address for listener in engine.listeners] == list(engine.addresses)
        six = engine.addresses[2].rpartition(":")[2]
        with (
            socket.create_connection(endpoint(engine), WAIT) as tcp4,
            udp_peer(engine, 1) as udp,
            socket.create_connection(("::1", int(six)), WAIT) as tcp6,
            socket.socket(socket.AF_UNIX) as unix,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unixgram,
            socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as unixpacket,
        ):
            for peer, name in ((unix, "u"), (unixgram, "g"), (unixpacket, "p")):
                peer.settimeout(WAIT)
                peer.bind(f"{tmp_path}/my-{name}")
                peer.connect(f"{tmp_path}/{name}")
            for peer, scheme in (
                (tcp4, b"tcp4"),
                (udp, b"udp4"),
                (tcp6, b"tcp6"),
                (unix, b"unix"),
                (unixgram, b"unixgram"),
                (unixpacket, b"unixpacket"),
            ):
                peer.send(b"?")
                assert peer.recv(20) == scheme


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_listeners_of_one_scheme_are_told_apart(backend: str) -> None:
    class Name(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            assert conn.listener is not None
            conn.write(b"%d" % conn._loop.engine.listeners.index(conn.listener))

    addresses = ["tcp://127.0.0.1:0"] * 2 + ["udp://127.0.0.1:0"] * 2
    with ringnet.Engine(Name(), *addresses, backend=backend, reactors=2) as engine:
        assert len(set(engine.addresses)) == 4
        for number, address in enumerate(engine.addresses):
            kind = socket.SOCK_STREAM if number < 2 else socket.SOCK_DGRAM
            with socket.socket(socket.AF_INET, kind) as peer:
                peer.settimeout(WAIT)
                peer.connect(("127.0.0.1", int(address.rpartition(":")[2])))
                peer.send(b"?")
                assert peer.recv(10) == b"%d" % number
