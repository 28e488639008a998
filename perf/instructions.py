"""Instructions a message, exact on a noisy machine: `python perf/instructions.py`.

An echo server runs under callgrind. It gets N messages, then 2 N; the difference is the cost of N,
without the start and the end. `one` is one connection with one message at a time; `fifty` are fifty
whose messages arrive together. `process` is everything, `core` the part in the C core of io_uring.

`--check` compares with baseline.json and fails where a count grew by more than the threshold;
`--store` writes it. The counts depend on the build of Python and the compiler: they are compared
with a baseline of the same build only, and otherwise just printed. Exit status: 0 no worse, or
nothing to compare with; 1 worse; 2 nothing could be counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from figures import callgrind
from measuring.programs import PERF
from measuring.servers import end, first_line, port_in

BASELINE = PERF / "baseline.json"
SERVER = PERF / "peers" / "counted_server.py"
BACKENDS = ("io_uring", "epoll")
CORE = "/uring/_ring"  # in the name of the extension
THRESHOLD = 0.03
MESSAGES, WARM_UP = 500, 500  # of each profile
CONNECTIONS = 50
BYTES = b"x" * 64
MARK, GATE = b"mark", b"gate"  # as peers/counted_server.py
SECONDS = 60.0  # a loaded machine is slow under valgrind
ATTEMPTS = 3  # on a machine that is too busy with others for SECONDS

Counts = dict[str, int]  # "io_uring one process": instructions a message


class CannotCount(Exception):
    """Nothing could be counted; the message has the reason and, where known, the remedy."""


class Driver:
    """The other side of the counted server: it decides what each turn of that finds."""

    def __init__(self, port: int, gate: tuple[IO[bytes], IO[bytes]], stack: ExitStack) -> None:
        self.stopped, self.go = gate  # the server's standard output and input
        self.conns = [stack.enter_context(_connected(port)) for _ in range(CONNECTIONS)]
        self.control = stack.enter_context(_connected(port))

    def mark(self) -> None:
        """Make a part of its own of what was counted since the last mark."""
        self.control.sendall(MARK)
        _receive(self.control, len(MARK))

    def one(self, messages: int) -> None:
        """One connection, one message at a time."""
        for _ in range(messages):
            self.conns[0].sendall(BYTES)
            _receive(self.conns[0], len(BYTES))

    def fifty(self, messages: int) -> None:
        """All connections' messages at once."""
        for _ in range(messages // CONNECTIONS):
            self.control.sendall(GATE)
            self.stopped.read(1)
            for conn in self.conns:
                conn.sendall(BYTES)
            self.go.write(b"x")
            for conn in self.conns:
                _receive(conn, len(BYTES))
            _receive(self.control, len(GATE))


def _connected(port: int) -> socket.socket:
    conn = socket.create_connection(("127.0.0.1", port), SECONDS)
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return conn


def _receive(conn: socket.socket, size: int) -> None:
    while size > 0:
        part = conn.recv(size)
        if not part:
            raise CannotCount("the server closed a connection")
        size -= len(part)


def count(backend: str) -> Counts:
    """The counts of one backend. Raises CannotCount."""
    for _ in range(ATTEMPTS - 1):
        try:
            return _count(backend)
        except CannotCount as error:
            print(f"once more: {error}", file=sys.stderr)
    return _count(backend)


def _count(backend: str) -> Counts:
    with tempfile.TemporaryDirectory(prefix="ringnet-perf-") as folder, ExitStack() as stack:
        out = Path(folder) / "out"
        driver = stack.enter_context(_driven(backend, out))
        profiles: dict[str, Callable[[int], None]] = {"one": driver.one, "fifty": driver.fifty}
        for talk in profiles.values():
            talk(WARM_UP)
        driver.mark()
        for talk in profiles.values():
            for messages in (MESSAGES, 2 * MESSAGES):
                talk(messages)
                driver.mark()
        parts = [_part(out, number + 2) for number in range(2 * len(profiles))]
    counts = {}
    for index, profile in enumerate(profiles):
        once, twice = parts[2 * index : 2 * index + 2]
        for name, part in (("process", ""), ("core", CORE)):
            cost = callgrind.share_of(twice, part) - callgrind.share_of(once, part)
            if cost:
                counts[f"{backend} {profile} {name}"] = round(cost / MESSAGES)
    return counts


def _part(out: Path, number: int) -> Counter[str]:
    with out.with_name(f"out.{number}").open() as file:
        return callgrind.cost_by_object(file)


@contextmanager
def _driven(backend: str, out: Path) -> Iterator[Driver]:
    valgrind = shutil.which("valgrind")
    if valgrind is None:
        raise CannotCount("there is no valgrind: apt install valgrind")
    child = subprocess.Popen(
        [
            valgrind, *callgrind.OPTIONS, "--fair-sched=yes", "--dump-before=getppid",
            f"--callgrind-out-file={out}", sys.executable, str(SERVER), backend,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        bufsize=0,
        env={"PYTHONHASHSEED": "0", "PATH": "/usr/bin:/bin"},
        start_new_session=True,
    )  # fmt: skip
    try:
        port = port_in(first_line(child, SECONDS))
        if port is None or child.stdin is None or child.stdout is None:
            raise CannotCount(f"the server on {backend} does not start under valgrind")
        with ExitStack() as stack:
            yield Driver(port, (child.stdout, child.stdin), stack)
    except OSError as error:
        raise CannotCount(f"{backend}: {error}") from error
    finally:
        end(child)


def build_name() -> str:
    """What the counts depend on, other than our code."""
    compiler = subprocess.run(["cc", "-dumpfullversion"], capture_output=True, text=True)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    made_by = platform.python_compiler()
    return f"{python} ({made_by}), cc {compiler.stdout.strip()}, {platform.machine()}"


def growth(counts: Counts, base: Counts) -> dict[str, float]:
    """The share by which each count grew since the baseline."""
    return {name: counts[name] / base[name] - 1 for name in counts if base.get(name)}


def show(counts: Counts, base: Counts) -> None:
    """Print a line for each count."""
    grown = growth(counts, base)
    for name, value in counts.items():
        change = f"{grown[name]:+8.1%}" if name in grown else ""
        print(f"{name:28} {value:8,} instructions a message {change}")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Count instructions a message.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--check", action="store_true", help="fail where a count grew")
    how.add_argument("--store", action="store_true", help="make it the baseline")
    parser.add_argument("--threshold", type=float, default=THRESHOLD, metavar="R",
                        help=f"of growth; default: {THRESHOLD}")  # fmt: skip
    return parser.parse_args(given)


def main() -> int:
    """The command. Returns its exit status."""
    given, counts = arguments(), Counts()
    try:
        for backend in BACKENDS:
            counts |= count(backend)
    except CannotCount as error:
        print(error, file=sys.stderr)
        return 2
    stored = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    base, build = stored.get(build_name(), {}), build_name()
    print(build)
    show(counts, base)
    if given.store:
        BASELINE.write_text(json.dumps({**stored, build: counts}, indent=1) + "\n")
    if not base:
        print(f"{BASELINE.name} has no baseline for this build: nothing to compare with")
    worse = [name for name, grown in growth(counts, base).items() if grown > given.threshold]
    if given.check and worse:
        print(f"worse by more than {given.threshold:.0%}: {', '.join(worse)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
