"""G18: edge-triggered input, as an option; the contract suite runs with edges as well."""

from __future__ import annotations

import os
from contextlib import ExitStack

import pytest
import ringnet
from engine_tools import Recorder, dial, receive, send_all_aside


@pytest.mark.parametrize("backend", ["epoll"])
@pytest.mark.parametrize("chunk", [1000, 1 << 20])
@pytest.mark.parametrize("size", [1, 100_000, 5_000_000])
def test_edge_triggered(backend: str, chunk: int, size: int) -> None:
    """The contract suite runs with edges as well; this is the option, through the engine."""
    options = {"backend": backend, "edge_triggered": True, "edge_triggered_chunk": chunk}
    with ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine, ExitStack() as stack:
        clients = [stack.enter_context(dial(engine)) for _ in range(3)]
        data = os.urandom(size)
        senders = [send_all_aside(client, data) for client in clients]
        for client in clients:
            assert receive(client, size) == data
        for sender in senders:
            sender.join()


@pytest.mark.parametrize("backend", ["io_uring", "select"])
def test_edge_triggered_changes_nothing_elsewhere(backend: str) -> None:
    options = {"backend": backend, "edge_triggered": True}
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", **options) as engine,
        dial(engine) as client,
    ):
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
