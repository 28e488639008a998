"""The ways to take a sample. Most run the load generator against a server that is up."""

from __future__ import annotations

import dataclasses
import os
import re
import resource
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from figures.samples import Sample, marks_of

from . import cpus
from .load import Load, Settings, sample_of
from .roster import tool
from .scenarios import Scenario
from .servers import CannotServe, Server

SPARE_DESCRIPTORS = 200
ECHO_SECONDS = 10.0
REDIS_RATE = 50_000  # commands a second and depth to plan redis-benchmark's length by


@dataclass
class Turn:
    """Everything that a sample needs. `rate` is for an open loop."""

    scenario: Scenario
    load: Load
    settings: Settings
    server: Server
    options: tuple[str, ...]
    run: int
    rate: float = 0.0
    restart: Callable[[], Server] = lambda: _cannot()

    def load_options(self) -> tuple[str, ...]:
        """The options of the load generator."""
        rate = ("--rate", f"{self.rate:.0f}") if self.rate else ()
        timing = ("--warmup", str(self.settings.warmup), "--seconds", str(self.settings.seconds))
        return (*self.options, *rate, *timing)

    def sample(self, value: float, **more: object) -> Sample:
        peer, variant = self.server.peer.name, self.server.variant
        made = Sample(self.scenario.name, peer, variant, self.run, value)
        return dataclasses.replace(made, **more)  # type: ignore[arg-type]


def _cannot() -> Server:
    raise CannotServe("this scenario starts no server of its own")


def by_load(turn: Turn) -> Sample:
    """Throughput in a closed loop."""
    answer = turn.load.run(turn.server, *turn.load_options())
    return sample_of(turn.scenario, turn.server, turn.run, answer)


def open_loop(turn: Turn) -> Sample:
    """p99.9 at a fixed rate, counted from when each message was due."""
    answer = turn.load.run(turn.server, *turn.load_options())
    return turn.sample(
        answer["latency_us"]["p99.9"],
        cpu_us=answer["server_cpu_seconds"] / answer["messages"] * 1e6,
        server_share=answer["server_cpu_seconds"] / answer["seconds"],
        load_share=answer["load_cpu_seconds"] / answer["seconds"],
        latency_us=answer["latency_us"],
        marks=marks_of(answer, turn.rate),
        line_ns=tuple(answer["line_ns"]),
        details={"rate": turn.rate, "late_p99_us": answer["lateness_us"]["p99"]},
    )


def capacity(turn: Turn) -> float:
    """Messages a second in a closed loop; an open loop takes half of that."""
    answer = turn.load.run(turn.server, *turn.load_options())
    rate: float = answer["messages"] / answer["seconds"]
    return rate


def memory(turn: Turn) -> Sample:
    """Private memory of an idle connection that has echoed one byte, in a fresh server."""
    many = min(turn.scenario.connections, turn.server.peer.most_connections, descriptors())
    with turn.restart() as server:
        cost = idle_bytes(server, many)
    return turn.sample(cost, details={"connections": many})


def idle_bytes(server: Server, connections: int) -> float:
    """Private memory of each of these connections, beyond the first one, in a fresh server."""
    with ExitStack() as stack:
        _echo(stack.enter_context(_connected(server.port)))
        before = cpus.private_dirty(server.pid)
        others = [stack.enter_context(_connected(server.port)) for _ in range(connections)]
        for conn in others:
            _echo(conn)
        return (cpus.private_dirty(server.pid) - before) / connections


def descriptors() -> int:
    """The most connections that this process, or a server that it starts, can have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_DESCRIPTORS


def start_up(turn: Turn) -> Sample:
    """Milliseconds from the start of the process to its first echo."""
    with turn.restart() as server, _connected(server.port) as conn:
        _echo(conn)
        took = time.monotonic() - server.started
    return turn.sample(took * 1e3)


def _connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), ECHO_SECONDS)


def _echo(conn: socket.socket) -> None:
    conn.sendall(b"x")
    if conn.recv(1) != b"x":
        raise CannotServe("no echo")


def wrk(turn: Turn) -> Sample:
    """wrk's figure for the scenario `http`."""
    seconds = max(1, round(turn.settings.seconds))
    command = [
        tool("wrk", "apt install wrk"), "-t1", f"-c{turn.scenario.connections}", f"-d{seconds}s",
        f"http://127.0.0.1:{turn.server.port}/",
    ]  # fmt: skip
    return _by_tool(turn, command, parse_wrk)


def redis_benchmark(turn: Turn) -> Sample:
    """redis-benchmark's figure for a command."""
    depth = int(turn.options[turn.options.index("-P") + 1])
    count = round(REDIS_RATE * min(depth, 8) * turn.settings.seconds)
    command = [
        tool("redis-benchmark", "apt install redis-tools"), "-p", str(turn.server.port), "--csv",
        "-c", str(turn.scenario.connections), "-n", str(count), *turn.options,
    ]  # fmt: skip
    return _by_tool(turn, command, lambda text: (parse_redis_benchmark(text), count))


def _by_tool(turn: Turn, command: list[str], parse: Callable[[str], tuple[float, float]]) -> Sample:
    before = sum(map(cpus.cpu_seconds, turn.server.pids()))
    own, started = os.times(), time.monotonic()
    text = turn.load.command(turn.server, command)
    took, after_own = time.monotonic() - started, os.times()
    used = sum(map(cpus.cpu_seconds, turn.server.pids())) - before
    rate, count = parse(text)
    load = after_own.children_user + after_own.children_system
    load -= own.children_user + own.children_system
    answer = {"seconds": took, "load_cpu_seconds": load, "others_cpu_seconds": 0, "messages": count}
    return turn.sample(
        rate / 1e3,
        cpu_us=used / count * 1e6,
        server_share=used / took,
        load_share=load / took,
        marks=marks_of(answer),
    )


def parse_wrk(text: str) -> tuple[float, float]:
    """Requests a second, and their number. Raises CannotServe if some failed."""
    rate = re.search(r"Requests/sec: +([\d.]+)", text)
    count = re.search(r"(\d+) requests in", text)
    if rate is None or count is None or "Non-2xx" in text or "Socket errors" in text:
        raise CannotServe(f"wrk: {text.strip()[-200:]}")
    return float(rate[1]), float(count[1])


def parse_redis_benchmark(text: str) -> float:
    """Commands a second. Raises CannotServe if there is no such figure."""
    found = re.search(r'^"[A-Z]+[^"]*","([\d.]+)"', text, re.MULTILINE)
    if found is None:
        raise CannotServe(f"redis-benchmark: {text.strip()[-200:]}")
    return float(found[1])


KINDS: dict[str, Callable[[Turn], Sample]] = {
    "load": by_load,
    "open": open_loop,
    "memory": memory,
    "start": start_up,
    "wrk": wrk,
    "redis-benchmark": redis_benchmark,
}
FRESH = {"memory", "start"}  # these start their own server for each sample
