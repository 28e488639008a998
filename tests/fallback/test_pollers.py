"""kqueue, and select for systems without either; kqueue by the shim where there is none."""

from __future__ import annotations

import os

import pytest
import ringnet
from contract_tools import backend_names
from engine_tools import BACKENDS, Recorder, dial, receive, send_all_aside


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_can_be_forced_and_says_so(backend: str) -> None:
    data = os.urandom(2_000_000)
    with (
        ringnet.Engine(Recorder(), "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine) as client,
    ):
        assert engine.backend == backend
        assert engine.backend_reason == f"forced by backend={backend!r}"
        sender = send_all_aside(client, data)
        assert receive(client, len(data)) == data
        sender.join()


def test_the_contract_suite_runs_on_each_of_them() -> None:
    assert set(BACKENDS) <= set(backend_names())
    assert {"epoll-edge", "kqueue-edge", "io_uring-5.19"} <= set(backend_names())
