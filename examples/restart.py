"""An HTTP server that replaces itself without refusing a connection.

    python examples/restart.py
    kill -HUP PID        # each process prints its PID

On SIGHUP it starts a successor, which inherits the listening sockets. Once the successor serves,
this process stops accepting: every connection gets its next answer with `Connection: close`, and is
closed. A SIGHUP while a successor is starting is ignored; if it fails, this process continues.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading

import ringnet
from _cli import parser, serve

MAX_HEAD = 64 * 1024  # bytes of a request


class Server(ringnet.EventHandler):
    """Answers each request with the number of its process."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.more = ["--backend", given.backend, "--reactors", str(given.reactors)]
        for option in given.option:
            self.more += ["--option", option]
        self.is_replacing = threading.Lock()

    def on_boot(self, engine: ringnet.Engine) -> None:
        self.engine = engine
        # A daemon thread, since the successor outlives this process.
        signal.signal(
            signal.SIGHUP, lambda *_: threading.Thread(target=self.replace, daemon=True).start()
        )

    def on_tick(self) -> None:
        """Called once, as soon as it serves."""
        print(f"{os.getpid()} serves on {self.engine.addresses[0]}", flush=True)
        if "RESTART_PARENT" in os.environ:
            os.kill(int(os.environ.pop("RESTART_PARENT")), signal.SIGTERM)

    def replace(self) -> None:
        """Start a successor and wait for it: if it ends before this process does, it has failed."""
        if not self.is_replacing.acquire(blocking=False):
            return
        try:
            code = self.start_successor().wait()
            print(f"{os.getpid()} continues: its successor ended with {code}", flush=True)
        except (ringnet.EngineStateError, OSError) as error:
            print(f"{os.getpid()} cannot start a successor: {error}", flush=True)
        finally:
            self.is_replacing.release()

    def start_successor(self) -> subprocess.Popen[bytes]:
        sockets = [fd for fds in self.engine.hand_over().values() for fd in fds]
        try:
            return subprocess.Popen(
                [sys.executable, __file__, *(f"fd://{fd}" for fd in sockets), *self.more],
                pass_fds=sockets,
                env={**os.environ, "RESTART_PARENT": str(os.getpid())},
            )
        finally:
            for fd in sockets:
                os.close(fd)

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        *requests, _ = conn.peek().split(b"\r\n\r\n")
        conn.discard(sum(len(request) + 4 for request in requests))
        for _ in requests:
            conn.write(self.answer(conn))
        return ringnet.Action.CLOSE if requests and conn.loop.is_stopping else None

    def answer(self, conn: ringnet.Connection) -> bytes:
        body = f"process {os.getpid()}\n"
        last = "Connection: close\r\n" if conn.loop.is_stopping else ""
        return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{last}\r\n{body}".encode()

    def on_drain(self, conn: ringnet.Connection) -> None:
        """Keep the connection open: its next request is answered as the last one."""


if __name__ == "__main__":
    given = parser(__doc__, "tcp://127.0.0.1:8080").parse_args()
    serve(Server(given), given, max_inbound=MAX_HEAD, outbound_full="close")
