"""perf/: the load generator verifies, counts, and tells what broke."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from measuring.programs import build

SECONDS = 30.0
Serve = Callable[[socket.socket], None]


@contextmanager
def serving(serve: Serve) -> Iterator[int]:
    """A server of one connection; gives its port."""

    def run() -> None:
        conn, _ = listener.accept()
        with conn:
            conn.settimeout(SECONDS)
            try:
                serve(conn)
            except OSError:
                pass  # the load has seen enough

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(SECONDS)
        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(SECONDS)
        assert not thread.is_alive()


def load(port: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Run it with one connection for a hundred messages."""
    few = ("--connections", "1", "--warmup", "0", "--messages", "100", "--seconds", "20")
    command = [str(build("load")), "--port", str(port), *few, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)


def echo(conn: socket.socket) -> None:
    while data := conn.recv(65536):
        conn.sendall(data)


def in_two_parts(conn: socket.socket) -> None:
    while data := conn.recv(65536):
        conn.sendall(data[:1])
        conn.sendall(data[1:])


@pytest.mark.parametrize("serve", [echo, in_two_parts])
@pytest.mark.parametrize("pipeline", ["1", "16"])
def test_an_echo_is_verified_and_counted(serve: Serve, pipeline: str) -> None:
    with serving(serve) as port:
        done = load(port, "--verify", "--size", "200", "--pipeline", pipeline)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["messages"] >= 100
    assert answer["bytes"] == 200 * answer["messages"]
    assert 0 < answer["latency_us"]["p50"] <= answer["latency_us"]["max"]


def test_an_open_loop_sends_what_is_due() -> None:
    with serving(echo) as port:
        done = load(port, "--verify", "--rate", "1000")
    assert done.returncode == 0, done.stderr
    assert 100 <= json.loads(done.stdout)["messages"] < 200


def test_other_bytes_are_noticed() -> None:
    def serve(conn: socket.socket) -> None:
        for number in range(1_000_000):
            data = bytearray(conn.recv(65536))
            if not data:
                return
            data[-1] ^= number == 30
            conn.sendall(data)

    with serving(serve) as port:
        done = load(port, "--verify")
    assert done.returncode == 1
    assert "other bytes" in done.stderr


def test_more_bytes_are_noticed() -> None:
    def serve(conn: socket.socket) -> None:
        while data := conn.recv(65536):
            conn.sendall(data + b"!")

    with serving(serve) as port:
        done = load(port)
    assert done.returncode == 1
    assert "more bytes" in done.stderr


def test_a_server_that_closes_is_noticed() -> None:
    with serving(lambda conn: conn.sendall(conn.recv(65536))) as port:
        done = load(port)
    assert done.returncode == 1
    assert "closed" in done.stderr or "broke" in done.stderr


def test_a_fixed_request_has_a_fixed_reply(tmp_path: Path) -> None:
    request, reply = tmp_path / "request", tmp_path / "reply"
    request.write_bytes(b"question")
    reply.write_bytes(b"the answer")

    def serve(conn: socket.socket) -> None:
        while data := conn.recv(len(b"question"), socket.MSG_WAITALL):
            assert data == b"question"
            conn.sendall(b"the answer")

    with serving(serve) as port:
        done = load(port, "--verify", "--request", str(request), "--reply", str(reply))
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["bytes"] == len(b"the answer") * answer["messages"]


@pytest.mark.parametrize(
    "wrong", [("--rate", "5", "--pipeline", "2"), ("--mode", "x"), ("--size", "0"), ("more",)]
)
def test_wrong_options_are_refused(wrong: tuple[str, ...]) -> None:
    done = load(9, *wrong)
    assert done.returncode == 2
    assert done.stderr


def line_ns(port: int, cpus: str) -> list[float]:
    done = load(port, "--cpus", cpus)
    assert done.returncode == 0, done.stderr
    found: list[float] = json.loads(done.stdout)["line_ns"]
    return found


def test_the_distance_of_two_cpus_is_measured_before_and_after() -> None:
    first, *_, last = 2 * sorted(os.sched_getaffinity(0))
    with serving(echo) as port:
        found = line_ns(port, f"{first},{last}")
    assert len(found) == 2
    assert all((ns > 0) == (first != last) for ns in found)


@pytest.mark.parametrize("cpus", ["0,0", "0", "0,1000", "0,1000000"])
def test_where_there_is_no_other_cpu_it_is_not_known(cpus: str) -> None:
    with serving(echo) as port:
        assert line_ns(port, cpus) == [0, 0]
