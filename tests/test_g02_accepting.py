"""G2: each reactor accepts on its own listener; the hand-over is in test_g01_reactors.py."""

from __future__ import annotations

import socket

import pytest
import ringnet
from engine_tools import BACKENDS, Recorder, endpoint


@pytest.mark.parametrize("backend", BACKENDS)
def test_reuse_port_gives_each_reactor_a_listener_of_the_same_port(backend: str) -> None:
    options = {"backend": backend, "reactors": 2, "reuse_port": True}
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine:
        _, port = endpoint(engine)
        with socket.socket() as another:  # a process of the same user may join
            another.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            another.bind(("127.0.0.1", port))
        with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
            stranger.bind(("127.0.0.1", port))
