"""The measurement: the load on one CPU, a server on another, in turn and again.

The servers take turns within each run, and each run begins with the next one, so that a slow
minute of the machine falls on all of them and no place in the order is anyone's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers import CannotServe, Server, end

LIMIT_SHARE = 0.98  # of a CPU: a load that used more of it may have been the limit
BUSY_SHARE = 0.90  # of a CPU: one of the two should have used more of it
CHECK_MESSAGES = 500
CHECK_SECONDS = 5.0
LOAD_GRACE = 15.0  # beyond what it was asked; the load ends itself sooner


@dataclass(frozen=True)
class Settings:
    """What is asked of the load, for every server alike."""

    sizes: tuple[int, ...]
    connections: int
    pipeline: int
    seconds: float
    warmup: float
    runs: int


@dataclass(frozen=True)
class Sample:
    """One server, one size, one run."""

    server: str
    size: int
    run: int
    messages: int
    messages_per_second: float
    us_per_message: float  # of the server's CPU
    server_share: float  # of its CPU
    load_share: float
    p50_us: float
    p99_us: float

    @property
    def load_limited(self) -> bool:
        """Was the load at its limit, so that the server could have done more?"""
        return self.load_share >= LIMIT_SHARE

    @property
    def disturbed(self) -> bool:
        """Was neither at its limit? Others took CPU time, or the connections are too few."""
        return max(self.server_share, self.load_share) < BUSY_SHARE


@dataclass(frozen=True)
class Load:
    """The load generator, pinned to its CPU."""

    program: Path
    cpu: int

    def run(self, server: Server, *options: str) -> dict[str, float]:
        """Let it talk to a server. Raises CannotServe with what it said if that went wrong."""
        place = ("--port", str(server.port), "--watch", str(server.pid))
        child = subprocess.Popen(
            [str(self.program), *place, *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: os.sched_setaffinity(0, {self.cpu}),
            start_new_session=True,
        )
        try:
            out, complaints = child.communicate(timeout=600 + LOAD_GRACE)
        finally:
            end(child)
        if child.returncode:
            said = complaints.decode(errors="replace").strip()
            words = [said or f"load ended with {child.returncode}", server.last_words()]
            raise CannotServe("; ".join(word for word in words if word))
        answer: dict[str, float] = json.loads(out)
        return answer

    def check(self, server: Server, settings: Settings) -> None:
        """Make sure that the server echoes, byte for byte, at each size. Raises CannotServe."""
        for size in settings.sizes:
            self.run(
                server,
                *("--connections", str(settings.connections), "--size", str(size)),
                *("--pipeline", str(settings.pipeline), "--warmup", "0", "--verify"),
                *("--messages", str(CHECK_MESSAGES), "--seconds", str(CHECK_SECONDS)),
            )

    def sample(self, server: Server, size: int, run: int, settings: Settings) -> Sample:
        """Measure once. Raises CannotServe."""
        got = self.run(
            server,
            *("--connections", str(settings.connections), "--size", str(size)),
            *("--pipeline", str(settings.pipeline), "--warmup", str(settings.warmup)),
            *("--seconds", str(settings.seconds)),
        )
        return Sample(
            server=server.name,
            size=size,
            run=run,
            messages=int(got["messages"]),
            messages_per_second=got["messages_per_second"],
            us_per_message=got["server_cpu_seconds"] / got["messages"] * 1e6,
            server_share=got["server_cpu_seconds"] / got["seconds"],
            load_share=got["load_cpu_seconds"] / got["seconds"],
            p50_us=got["p50_us"],
            p99_us=got["p99_us"],
        )


def turns(servers: Sequence[Server], settings: Settings) -> Iterator[tuple[int, int, Server]]:
    """In which order: (run, size, server)."""
    for run in range(settings.runs):
        first = run % len(servers)
        for size in settings.sizes:
            for server in (*servers[first:], *servers[:first]):
                yield run, size, server


class Results:
    """What was measured so far, and what went wrong."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.samples: list[Sample] = []
        self.failures: dict[str, str] = {}  # by server: why it is measured no more
        self._idle_cpu: dict[str, float] = {}
        self._idle_wall: dict[str, float] = {}

    def servers(self) -> list[str]:
        """Those with samples, in the order of the first run."""
        return list(dict.fromkeys(sample.server for sample in self.samples))

    def of(self, server: str, size: int) -> list[Sample]:
        """The samples of a server at a size, in the order of the runs."""
        return [s for s in self.samples if (s.server, s.size) == (server, size)]

    def idle_shares(self) -> dict[str, float]:
        """By server: how much of a CPU it used while others were measured."""
        return {name: self._idle_cpu[name] / wall for name, wall in self._idle_wall.items()}

    def add_idle(self, name: str, cpu: float, wall: float) -> None:
        """Count time in which a server had nothing to do."""
        self._idle_cpu[name] = self._idle_cpu.get(name, 0.0) + cpu
        self._idle_wall[name] = self._idle_wall.get(name, 0.0) + wall


Tell = Callable[[str], None]


def measure(load: Load, servers: Sequence[Server], settings: Settings, tell: Tell) -> Results:
    """Take every sample. A server that fails is told of, and measured no more."""
    results = Results(settings)
    for run, size, server in turns(servers, settings):
        if server.name in results.failures:
            continue
        try:
            with _watching_idle(results, [other for other in servers if other is not server]):
                sample = load.sample(server, size, run, settings)
        except CannotServe as error:
            results.failures[server.name] = str(error)
            tell(f"{server.name} failed: {error}")
            continue
        results.samples.append(sample)
        tell(_progress(sample, settings))
    return results


@contextmanager
def _watching_idle(results: Results, others: Sequence[Server]) -> Iterator[None]:
    """Count the CPU time of those that are not measured now. Those that are gone count not."""
    started = time.monotonic()
    before = {other.name: other.cpu_seconds() for other in others if other.is_alive()}
    yield
    wall = time.monotonic() - started
    for other in others:
        if other.name in before and other.is_alive():
            results.add_idle(other.name, other.cpu_seconds() - before[other.name], wall)


def _progress(sample: Sample, settings: Settings) -> str:
    rate = sample.messages_per_second / 1e3
    where = f"run {sample.run + 1}/{settings.runs}"
    return f"{where}  {sample.size:>7} B  {sample.server:<16} {rate:8.1f} kmsg/s"
