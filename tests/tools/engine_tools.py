"""Helpers for tests of the engine: handlers that record, and clients with bounds."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Queue
from time import monotonic, sleep
from typing import Any

import pytest
import ringnet
from contract_tools import PATIENCE
from places import TOOLS

BACKENDS = ("io_uring", "epoll", "kqueue", "select")  # kqueue: by the shim, on Linux
IN_CHILDREN = ("io_uring", "epoll", "select")  # other processes have no shim
WAIT = 20.0 * PATIENCE  # seconds that any wait takes at most
FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
USES_MALLOC = pytest.mark.skipif(
    FREE_THREADED, reason="free-threaded CPython's memory is mimalloc's, which keeps what was freed"
)


class Recorder(ringnet.EventHandler):
    """Echoes, and puts what happens into `seen` as (method, detail)."""

    def __init__(self) -> None:
        self.seen: Queue[tuple[str, Any]] = Queue()

    def on_open(self, conn: ringnet.Connection) -> None:
        self.seen.put(("open", conn))

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        conn.write(conn.next())
        return None

    def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
        self.seen.put(("close", error))

    def on_shutdown(self, engine: ringnet.Engine) -> None:
        self.seen.put(("shutdown", engine.count_connections()))

    def expect(self, method: str) -> Any:
        """The detail of the next call, which must be `method`."""
        name, detail = self.seen.get(timeout=WAIT)
        assert name == method, f"{name}({detail!r}) instead of {method}"
        return detail


def endpoint(engine: ringnet.Engine) -> tuple[str, int]:
    """Host and port of the engine's first address."""
    host, _, port = engine.addresses[0].partition("://")[2].rpartition(":")
    return host.strip("[]"), int(port)


def dial(engine: ringnet.Engine) -> socket.socket:
    return socket.create_connection(endpoint(engine), timeout=WAIT)


def receive(sock: socket.socket, count: int) -> bytes:
    """Exactly `count` bytes, or what came before the peer's end."""
    parts = []
    while count > 0:
        part = sock.recv(min(count, 1 << 20))
        if not part:
            break
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def send_all_aside(sock: socket.socket, data: bytes) -> threading.Thread:
    """Send from another thread, so that this one can read meanwhile."""
    thread = threading.Thread(target=sock.sendall, args=(data,))
    thread.start()
    return thread


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def until(holds: Callable[[], object]) -> None:
    """Wait for what other threads bring about; fails when it takes too long."""
    deadline = monotonic() + WAIT
    while not holds():
        assert monotonic() < deadline, f"waited {WAIT} s in vain"
        sleep(0.002)


def on_loop(loop: Any, call: Callable[[], Any]) -> Any:
    """What a call returns or raises on the thread of an event loop, or of a reactor."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:
            future.set_exception(error)

    getattr(loop, "face", loop).execute(run)
    return future.result(WAIT)


class Where(Recorder):
    """Notes the reactor, and the thread, of each connection's calls."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, set[tuple[int, int]]] = {}

    def on_traffic(self, conn: ringnet.Connection) -> None:
        key = int(conn.peek())
        place = (conn.loop.number, threading.get_ident())
        self.places.setdefault(key, set()).add(place)
        conn.write(conn.next())


def talk(engine: ringnet.Engine, count: int, rounds: int = 3) -> list[socket.socket]:
    clients = [dial(engine) for _ in range(count)]
    for _ in range(rounds):
        for number, client in enumerate(clients):
            client.sendall(b"%04d" % number)
        for number, client in enumerate(clients):
            assert receive(client, 4) == b"%04d" % number
    return clients


def served(backend: str, handler: ringnet.EventHandler, **options: Any) -> ringnet.Engine:
    return ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend, **options)


def udp_peer(engine: ringnet.Engine, number: int = 0) -> socket.socket:
    host, _, port = engine.addresses[number].partition("://")[2].rpartition(":")
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    peer = socket.socket(family, socket.SOCK_DGRAM)
    peer.settimeout(WAIT)
    peer.connect((host.strip("[]"), int(port)))
    return peer


class Talker(ringnet.EventHandler):
    """A client's handler: puts what arrives, and the ends, into queues."""

    def __init__(self) -> None:
        self.opened: Queue[ringnet.Connection] = Queue()
        self.got: Queue[bytes] = Queue()
        self.closed: Queue[BaseException | None] = Queue()

    def on_open(self, conn: ringnet.Connection) -> None:
        self.opened.put(conn)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        self.got.put(conn.next())

    def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
        self.closed.put(error)

    def take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += self.got.get(timeout=WAIT)
        return data


def run_here(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Python in a process of its own, which has the helpers of the tests beside it."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=TOOLS,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
