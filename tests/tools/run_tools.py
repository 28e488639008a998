"""Programs that call `ringnet.run` with a handler that echoes."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from engine_tools import WAIT, receive

BEGIN = """
import os, signal, sys, threading
import ringnet
from ringnet.engine.base.current import current_loop

class Echo(ringnet.EventHandler):
    def on_boot(self, engine):
        self.engine = engine
        print(engine.addresses[0].rpartition(":")[2], flush=True)
    def on_traffic(self, conn):
        conn.write(conn.next())

backend, address = sys.argv[1], "tcp://127.0.0.1:0"
"""


@contextmanager
def program(text: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A program that begins as above and prints its port first."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + text, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate(timeout=WAIT)[1]
        yield process, int(line)
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT)


def echoes(client: socket.socket, data: bytes) -> bool:
    client.sendall(data)
    return receive(client, len(data)) == data
