"""What a peer chooses is shown on one line: its Unix name, or a host that it sent."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, on_loop


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", [b"a\nCRITICAL all is lost", b"\xff\xfe", "\u2028x".encode()])
def test_the_name_of_a_unix_peer(backend: str, name: bytes, tmp_path: Path) -> None:
    handler = Recorder()
    with (
        ringnet.Engine(handler, f"unix://{tmp_path}/s", backend=backend),
        socket.socket(socket.AF_UNIX) as peer,
    ):
        peer.bind(os.fsencode(tmp_path) + b"/" + name)
        peer.connect(f"{tmp_path}/s")
        conn = handler.expect("open")
        text = on_loop(conn.loop, lambda: repr(conn))
        assert text.isprintable()
        assert "peer=" in text
        text.encode()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_host_of_several_lines(backend: str) -> None:
    with ringnet.Client(Recorder(), backend=backend) as client:
        for host in ("a\nCRITICAL all is lost", "\udc80", "\u2028", "\x1b2J"):
            future = client.register(f"tcp://{host}:80")
            error = future.exception(WAIT)
            assert isinstance(error, OSError)
            assert str(error).isprintable()
