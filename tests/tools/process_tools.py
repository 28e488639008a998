"""An echo server and the doctor, each as a program of its own."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine_tools import WAIT, receive

# Prints its address and backend; at the end, what is left of threads and sockets.
PROGRAM = """
import logging, os, sys, threading
import ringnet
logging.basicConfig()

class Echo(ringnet.EventHandler):
    def on_boot(self, engine):
        print(engine.addresses[0], engine.backend, flush=True)
    def on_traffic(self, conn):
        conn.write(conn.next())
    def on_shutdown(self, engine):
        print("shutdown", engine.count_connections(), flush=True)

def sockets():
    links = (f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd"))
    return sum(1 for at in links if os.path.exists(at) and "std" not in at)

before = sockets()
ringnet.run(Echo(), "tcp://127.0.0.1:0", **{"reactors": 2, **eval(sys.argv[1])})
print(threading.active_count(), sockets() - before, flush=True)
"""


@contextmanager
def program(
    options: str, *before: str, env: dict[str, str] | None = None
) -> Iterator[tuple[subprocess.Popen[str], str, tuple[str, int]]]:
    """The program above, its backend and its endpoint."""
    command = [sys.executable, *before, "-c", PROGRAM, options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(process.communicate(timeout=WAIT)[1])
        address, backend = line.split()
        host, port = address.removeprefix("tcp://").split(":")
        yield process, backend, (host, int(port))
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


def echoes(where: tuple[str, int]) -> bool:
    with socket.create_connection(where, timeout=WAIT) as client:
        client.sendall(b"hello")
        return receive(client, 5) == b"hello"


def doctor(*before: str, env: dict[str, str] | None = None) -> tuple[int, dict[str, object]]:
    command = [sys.executable, *before, "-m", "ringnet", "doctor", "--json"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
        env={**os.environ, **(env or {})},
    )
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)
