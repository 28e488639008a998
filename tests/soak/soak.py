"""Mixed loads for a long time: memory and descriptors have to stay flat.

    python tests/soak/soak.py [--seconds 3600] [--backends io_uring,epoll,select] [--seed N]

One engine of each backend runs all the time, on TCP, UDP and Unix sockets, and one more with other
options and another backend in each round. A child process is the load: echoes small and large, slow
readers, peers that never read, resets, half closes, connections that say nothing, datagrams; each
answer is compared. Between rounds all is closed, and what this process has is noted.

Exit status 1: a wrong byte, or what is printed as not flat: descriptors or threads that are not as
many as after the first round, or memory that grew by more than `ALLOWED` from the first quarter
after warming up to the last one (means): resident, lent out by malloc, and small Python objects.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import heap
import ringnet

# The first may well be what the C library keeps of freed memory: a leak would show in the others.
ALLOWED = {"resident": 4 << 20, "in_use": 256 << 10, "blocks": 5_000}
ROUND = 2.0  # seconds of load between two looks
FEWEST = 30  # rounds: in the first 15 the free lists still fill, however long these take
PATIENCE = 30.0  # seconds for all to be closed
CHOICES: dict[str, list[Any]] = {
    "reactors": [1, 2, 3],
    "reuse_port": [False, True],
    "load_balancing": ["round_robin", "least_connections", "source_hash"],
    "max_connections": [5, 65_536],
    "at_max_connections": ["close", "wait"],
    "max_inbound": [10_000, 64 << 20],
    "inbound_full": ["close", "pause"],
    "max_outbound": [100_000, 64 << 20],
    "outbound_full": ["raise", "close"],
    "high_water": [4_096, 1 << 20],
    "stage_bytes": [512, 65_536],
    "receive_buffers": [1, 16, 256],
    "receive_buffer_size": [64, 4_096, 16_384],
    "events_per_turn": [1, 16, 1024],
    "again_per_turn": [1, 256],
    "edge_triggered": [False, True],
    "read_timeout": [0.0, 0.5],
    "idle_timeout": [0.0, 0.5],
    "write_timeout": [0.0, 0.5],
    "first_byte_timeout": [0.0, 0.3],
    "close_timeout": [0.2, 30.0],
    "linger_timeout": [0.0, 0.2],
    "tcp_nodelay": [True, False],
}


class Mixed(ringnet.EventHandler):
    """Echoes; some of it later, in parts, or when asked again."""

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        there = conn.inbound_buffered
        if there > 20_000 and conn.context is None:
            conn.context = "has rested"
            conn.pause_reading()
            conn.loop.schedule(0.001, lambda: resume(conn))
            return None
        if there > 4:
            conn.write(conn.next(there // 2))
            return ringnet.Action.AGAIN
        conn.write(conn.next())
        conn.context = None
        return None

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action | None:
        if conn.inbound_buffered:
            conn.write(conn.next())
        return ringnet.Action.CLOSE


def resume(conn: ringnet.Connection) -> None:
    try:
        conn.resume_reading()
    except ringnet.ConnectionClosed:
        return


def quiet_log() -> Any:
    import logging

    logger = logging.Logger("soak", logging.CRITICAL + 1)
    logger.addHandler(logging.NullHandler())
    return logger


def engine(backend: str, folder: str, name: str, **options: Any) -> ringnet.Engine:
    path = f"unix://{folder}/{name}.sock"
    addresses = ("tcp://127.0.0.1:0", "udp://127.0.0.1:0", path)
    # What the C library keeps of freed memory would look like growth: it keeps little here.
    options = {"kept_memory": 1 << 20, "backend": backend, "logger": quiet_log(), **options}
    return ringnet.Engine(Mixed(), *addresses, **options)


@contextmanager
def load(seed: int) -> Iterator[subprocess.Popen[str]]:
    """The child process; a line to it is a round, and so is a line from it."""
    command = [sys.executable, str(Path(__file__).with_name("soak_load.py")), str(seed)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield child
    finally:
        if child.stdin is not None:
            child.stdin.close()
        if child.poll() is None:
            child.terminate()
        child.wait(PATIENCE)


def one_round(child: subprocess.Popen[str], engines: list[tuple[ringnet.Engine, bool]]) -> int:
    """How many conversations there were. Raises AssertionError for a wrong byte."""
    assert child.stdin is not None
    assert child.stdout is not None
    targets = [f"{int(strict)}={address}" for e, strict in engines for address in e.addresses]
    child.stdin.write(f"{ROUND} {' '.join(targets)}\n")
    child.stdin.flush()
    answer = child.stdout.readline().strip()
    assert answer.startswith("ok "), answer or "the load has failed"
    return int(answer.split()[1])


def wait_until_closed(engines: list[ringnet.Engine]) -> None:
    deadline = time.monotonic() + PATIENCE
    while any(e.count_connections() or e.buffered for e in engines):
        assert time.monotonic() < deadline, [(e.backend, e.count_connections()) for e in engines]
        time.sleep(0.01)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


class Figures(NamedTuple):
    """What this process has, between two rounds."""

    resident: int  # bytes
    in_use: int  # bytes lent out by malloc
    blocks: int  # small Python objects
    descriptors: int
    threads: int


def figures() -> Figures:
    heap.trim()
    counts = descriptors(), threading.active_count()
    return Figures(heap.resident(), heap.in_use(), heap.blocks(), *counts)


def soak(seconds: float, backends: list[str], seed: int) -> tuple[list[Figures], int]:
    """What was noted between the rounds, and the number of conversations."""
    chance = random.Random(seed)
    noted: list[Figures] = []
    talks = 0
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack, load(seed) as child:
        lasting = [stack.enter_context(engine(b, folder, b)) for b in backends]
        while time.monotonic() < end or len(noted) < FEWEST:
            options = {name: chance.choice(values) for name, values in CHOICES.items()}
            with engine(chance.choice(backends), folder, "changing", **options) as changing:
                strict = [(e, True) for e in lasting]
                talks += one_round(child, [*strict, (changing, False)])
            wait_until_closed(lasting)
            noted.append(figures())
            if len(noted) % 100 == 1:
                print(f"{len(noted)} rounds: {noted[-1]}", flush=True)
    return noted, talks


def growth(noted: list[Figures], name: str) -> int:
    """From the first quarter after warming up to the last one; printed."""
    values = [getattr(each, name) for each in noted[len(noted) // 3 :]]
    quarter = max(1, len(values) // 4)
    first, last = mean(values[:quarter]), mean(values[-quarter:])
    print(f"{name:12} {first:12,.0f}, at the end {last:12,.0f}: {last - first:+,.0f} "
          f"(allowed {ALLOWED[name]:+,})")  # fmt: skip
    return round(last - first)


def judge(noted: list[Figures]) -> list[str]:
    """Print the figures; returns what is not flat."""
    wrong = [name for name in ALLOWED if growth(noted, name) > ALLOWED[name]]
    for name in ("descriptors", "threads"):
        values = sorted({getattr(each, name) for each in noted})
        print(f"{name:12} {', '.join(map(str, values))}")
        wrong += [] if len(values) == 1 else [name]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description="Mixed loads; memory and descriptors stay flat.")
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--backends", default="io_uring,epoll,select")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}; again: python {sys.argv[0]} --seconds {arguments.seconds:.0f} "
          f"--backends {arguments.backends} --seed {arguments.seed}", flush=True)  # fmt: skip
    noted, talks = soak(arguments.seconds, arguments.backends.split(","), arguments.seed)
    print(f"{len(noted)} rounds, {talks} conversations")
    wrong = judge(noted)
    print(f"NOT FLAT: {', '.join(wrong)}" if wrong else "flat")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
