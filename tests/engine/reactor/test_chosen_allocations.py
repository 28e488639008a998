"""One allocation of Python fails, whichever it is: it costs at most the connection it was for.

CPython's own test hooks refuse it (`_testcapi`), in a server of its own.
"""

from __future__ import annotations

import importlib.util
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import faults
import pytest
from engine_tools import IN_CHILDREN, WAIT, receive

SEEDS = 3  # of a run without one
ROUNDS = 8  # for each seed
FARTHEST = 48  # allocations after the handler has returned: beyond, the turn is over

PROGRAM = """
import sys
import faults, ringnet

refused = None

class Server(ringnet.EventHandler):
    def on_traffic(self, conn):
        global refused
        if refused is not None:
            refused.__exit__(None, None, None)
            refused = None
        if conn.peek(1) == b"r" and conn.peek()[-1:] != b"\\n":
            return  # the rest of the line comes
        data = conn.next()
        if data.startswith(b"refuse "):
            conn.write(b"refused")
            refused = faults.refuse_memory(int(data[7:]))
            refused.__enter__()
        else:
            conn.write(data)

    def on_close(self, conn, error):
        pass

with ringnet.Engine(Server(), "tcp://127.0.0.1:0", backend=sys.argv[1]) as engine:
    told = waited = False
    while not waited:
        try:  # an allocation of this thread may be the one, until it sleeps
            if not told:
                told = True
                print(engine.addresses[0].rpartition(":")[2], flush=True)
            sys.stdin.read()
            waited = True
        except MemoryError:
            pass
print("ended", flush=True)
"""


@contextmanager
def a_server(backend: str) -> Iterator[int]:
    """Its port; it has to end in good order."""
    command = [sys.executable, "-c", PROGRAM, backend]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    here = str(faults.__file__).rpartition("/")[0]
    environment = {**os.environ, "PYTHONPATH": here}
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, **pipes) as server:
        try:
            assert server.stdout is not None
            assert server.stdin is not None
            yield int(server.stdout.readline())
            server.stdin.close()
            assert server.stdout.readline() == "ended\n"
            assert server.wait(WAIT) == 0
        finally:
            server.kill()


@pytest.mark.skipif(importlib.util.find_spec("_testcapi") is None, reason="CPython's test hooks")
@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_others_are_served(backend: str, seed: int) -> None:
    chance = random.Random(seed + faults.current_seed())
    chosen = [chance.randint(1, FARTHEST) for _ in range(ROUNDS)]
    with a_server(backend) as port, a_client(port) as bystander:
        for nth in chosen:
            refuse_one(port, bystander, nth)


def refuse_one(port: int, bystander: socket.socket, nth: int) -> None:
    with ExitStack() as stack:
        asks, may_fail = (stack.enter_context(a_client(port)) for _ in range(2))
        check_echo(may_fail)
        asks.sendall(b"refuse %d\n" % nth)
        assert receive(asks, 7) == b"refused"
        try:
            may_fail.sendall(b"x")
            assert may_fail.recv(10) in (b"x", b""), f"allocation {nth}"
        except ConnectionResetError:
            pass
        check_echo(bystander)


def check_echo(client: socket.socket) -> None:
    client.sendall(b"echo")
    assert receive(client, 4) == b"echo"


def a_client(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=WAIT)
