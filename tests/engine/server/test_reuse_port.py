"""Each reactor accepts on its own listener; the hand-over is in test_several_reactors.py."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, endpoint, receive


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


@pytest.mark.parametrize("backend", BACKENDS)
def test_with_reuse_port_one_listener_still_feeds_all_reactors(
    backend: str, tmp_path: Path
) -> None:
    """A Unix address cannot be bound twice, so its newcomers are handed over."""
    options = {"backend": backend, "reactors": 3, "reuse_port": True}
    addresses = ("tcp://127.0.0.1:0", f"unix://{tmp_path}/s")
    with ringnet.Engine(Recorder(), *addresses, **options) as engine, ExitStack() as stack:
        assert [listener.has_one_for_each for listener in engine.listeners] == [True, False]
        for _ in range(9):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.settimeout(WAIT)
            client.connect(f"{tmp_path}/s")
            client.sendall(b"x")
            assert receive(client, 1) == b"x"
        assert [reactor.load for reactor in engine.reactors] == [3, 3, 3]
