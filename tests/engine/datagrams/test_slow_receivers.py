"""Datagrams through the engine to receivers that do not read: nobody else notices."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, on_loop, until


class Echo(Recorder):
    """Answers each datagram so many times."""

    def __init__(self, times: int = 1) -> None:
        super().__init__()
        self.times = times
        self.raised: list[Exception] = []

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        try:
            for _ in range(self.times):
                conn.write(data)
        except ringnet.RingnetError as error:
            self.raised.append(error)


class Peer:
    """A client that is not connected: only then the system bounds how many packets wait in it."""

    def __init__(self, sock: socket.socket, server: str) -> None:
        self.sock, self._server = sock, server
        self.recv = sock.recv

    def send(self, data: bytes) -> None:
        self.sock.sendto(data, self._server)


@contextmanager
def client(path: Path, name: str) -> Iterator[Peer]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT)
        sock.bind(f"{path}/{name}")
        yield Peer(sock, f"{path}/server")


def served(backend: str, path: Path, handler: Echo, **options: Any) -> ringnet.Engine:
    return ringnet.Engine(handler, f"unixgram://{path}/server", backend=backend, **options)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("size", [100, 8000])
def test_who_never_reads_costs_others_nothing(backend: str, size: int, tmp_path: Path) -> None:
    handler = Echo(times=4)
    limits = {"max_outbound": 400_000, "stop_timeout": 0.2}
    with (
        served(backend, tmp_path, handler, **limits) as engine,
        client(tmp_path, "slow") as slow,
        client(tmp_path, "quick") as quick,
    ):
        for number in range(60):
            slow.send(b"s" * size)
            quick.send(b"%d" % number)
            assert [quick.recv(100) for _ in range(4)] == [b"%d" % number] * 4
        refused = engine.group.reactors[0].endpoints.refused
        assert refused > 60, "the slow one's line has a bound"
        assert handler.raised == []
        assert slow.recv(1 << 17) == b"s" * size


@pytest.mark.parametrize("backend", BACKENDS)
def test_waiting_for_who_never_reads_takes_no_cpu(backend: str, tmp_path: Path) -> None:
    with (
        served(backend, tmp_path, Echo(times=30), stop_timeout=0.2) as engine,
        client(tmp_path, "slow") as slow,
    ):
        slow.send(b"?")
        ident = engine.group.reactors[0].ident
        until(lambda: slow.recv(1) == b"?")
        clock = time.pthread_getcpuclockid(ident)
        on_loop(engine.reactors[0], lambda: None)
        used, began = time.clock_gettime(clock), time.monotonic()
        while time.monotonic() - began < 0.5:
            time.sleep(0.1)
        assert time.clock_gettime(clock) - used < 0.2


@pytest.mark.parametrize("backend", BACKENDS)
def test_all_arrive_at_who_reads_late(backend: str, tmp_path: Path) -> None:
    with (
        served(backend, tmp_path, Echo(times=50)),
        client(tmp_path, "late") as late,
    ):
        late.send(b"whole")
        assert [late.recv(100) for _ in range(50)] == [b"whole"] * 50


@pytest.mark.parametrize("backend", BACKENDS)
def test_stopping_waits_no_longer_than_its_timeout(backend: str, tmp_path: Path) -> None:
    with client_of(backend, tmp_path) as engine:
        began = time.monotonic()
        engine.stop(timeout=0.3)
        assert time.monotonic() - began < WAIT / 2


@contextmanager
def client_of(backend: str, path: Path) -> Iterator[ringnet.Engine]:
    with served(backend, path, Echo(times=40)) as engine, client(path, "slow") as slow:
        slow.send(b"?")
        assert slow.recv(1) == b"?"
        yield engine


def test_the_bound_of_lines_is_below_max_outbound() -> None:
    engine = ringnet.Engine(Echo(), "udp://127.0.0.1:0", max_outbound=1000)
    assert engine.options.bounds().line_bytes == 500
