"""Normal traffic beside many connections that send a byte a minute.

    python perf/slow_loris.py [--connections 10000] [--seconds 3] [--backends io_uring,epoll,select]

For each backend, a server that is pinned to one CPU answers lines. Ten clients on another CPU send
them in turn, without a pause: before there are slow connections, beside them, and after them. It
prints p50 and p99 of these round trips, and how much the server's resident memory grew. Each slow
connection has begun a line that never ends; read and idle timeouts are on, and longer than a
minute.

Server and clients are a process each, and each needs a descriptor for every connection. Where the
limit is lower, and with select, there are fewer connections, as printed.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ringnet
from measuring.cpus import place
from ringnet.fallback.pollers import SELECT_CAPACITY

CLIENTS = 10
PERIOD = 60.0  # seconds from one byte of a slow connection to its next
SPARE = 200  # descriptors for everything else
PER_SOURCE = 10_000  # connections from one address: its ports are not used up, nor soon again
PATIENCE = 30.0
IP_BIND_ADDRESS_NO_PORT = 24  # connect(2) finds the port: bind(2) looks longer the more are taken
LINE = b"hello hello hello\n"


class Lines(ringnet.EventHandler):
    """Echoes whole lines."""

    def on_boot(self, engine: ringnet.Engine) -> None:
        print(engine.addresses[0].rpartition(":")[2], flush=True)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        if conn.peek()[-1:] == b"\n":
            conn.write(conn.next())


def serve(backend: str, connections: int, cpu: int) -> None:
    os.sched_setaffinity(0, {cpu})
    allow_descriptors()
    most = connections + 2 * CLIENTS
    ringnet.run(Lines(), "tcp://0.0.0.0:0", backend=backend, max_connections=most, backlog=4096,
                read_timeout=2 * PERIOD, idle_timeout=2 * PERIOD)  # fmt: skip


def allow_descriptors() -> int:
    """Raise the limit of descriptors as far as possible; returns it."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


@contextmanager
def server(backend: str, connections: int, cpu: int) -> Iterator[tuple[int, int]]:
    """Run a server; gives its process and port."""
    own = ["--serve", backend, "--connections", str(connections), "--cpu", str(cpu)]
    command = [sys.executable, __file__, *own]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.pid, int(process.stdout.readline())
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE)


def connect(port: int, number: int) -> socket.socket:
    """Connect from one of several addresses of this machine."""
    client = socket.socket()
    client.settimeout(PATIENCE)
    client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    client.bind((f"127.0.1.{1 + number // PER_SOURCE}", 0))
    client.connect(("127.0.0.1", port))
    return client


class SlowOnes:
    """Connections that send a byte one after the other, each once in a period."""

    def __init__(self, port: int, count: int, stack: ExitStack) -> None:
        self.all = [stack.enter_context(connect(port, number)) for number in range(count)]
        for slow in self.all:
            slow.sendall(b"a")
        self.sent = 0
        self._due = time.perf_counter()

    def send_what_is_due(self) -> None:
        while self.all and self._due <= time.perf_counter():
            self.all[self.sent % len(self.all)].sendall(b"x")
            self.sent += 1
            self._due += PERIOD / len(self.all)


def round_trips(clients: list[socket.socket], seconds: float, slow: SlowOnes | None) -> list[float]:
    """The times of round trips in microseconds, sorted."""
    took = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        client = clients[len(took) % len(clients)]
        client.sendall(LINE)
        if client.recv(100) != LINE:
            raise AssertionError("a wrong answer")
        took.append((time.perf_counter() - start) * 1e6)
        if slow is not None:
            slow.send_what_is_due()
    return sorted(took)


def p50_p99(took: list[float]) -> str:
    return f"{took[len(took) // 2]:6.0f} /{took[len(took) * 99 // 100]:6.0f}"


def resident(pid: int) -> float:
    """Resident memory of a process in MiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line) / 1024


def measure(backend: str, connections: int, seconds: float, server_cpu: int) -> None:
    """Print a line of figures."""
    with server(backend, connections, server_cpu) as (pid, port), ExitStack() as stack:
        clients = [stack.enter_context(connect(port, 0)) for _ in range(CLIENTS)]
        for client in clients:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        round_trips(clients, seconds / 4, None)
        before, memory = round_trips(clients, seconds, None), resident(pid)
        with ExitStack() as slow_stack:
            slow = SlowOnes(port, connections, slow_stack)
            beside = round_trips(clients, seconds, slow)
            grown = resident(pid) - memory
            unanswered = sum(not is_silent(sock) for sock in slow.all)
        if unanswered:
            raise AssertionError(f"{unanswered} slow connections were ended or answered")
        round_trips(clients, seconds / 2, None)  # while all those are closed
        after = round_trips(clients, seconds, None)
    print(f"{backend:9} {connections:6} {slow.sent:6}  {p50_p99(before)}  {p50_p99(beside)}  "
          f"{p50_p99(after)}  {grown:7.1f}", flush=True)  # fmt: skip


def is_silent(sock: socket.socket) -> bool:
    """Whether nothing has arrived: no byte and no end."""
    sock.setblocking(False)
    try:
        sock.recv(1)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each of the three samples")
    parser.add_argument("--backends", default="io_uring,epoll,select")
    parser.add_argument("--serve", metavar="BACKEND", help=argparse.SUPPRESS)
    parser.add_argument("--cpu", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.connections, given.cpu)
        return
    placement = place()
    os.sched_setaffinity(0, {placement.load})
    most = min(given.connections, allow_descriptors() - SPARE)
    print(placement.caveat or f"server on CPU {placement.server}, load on CPU {placement.load}")
    print("            slow  bytes  p50/p99 us: before   beside   after  MiB for them")
    for backend in given.backends.split(","):
        fits = min(most, SELECT_CAPACITY - SPARE) if backend == "select" else most
        measure(backend, fits, given.seconds, placement.server)


if __name__ == "__main__":
    main()
