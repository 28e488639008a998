"""Running out of descriptors or of places does not kill an engine, and it recovers."""

from __future__ import annotations

import errno
import logging
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from threading import Event

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    IN_CHILDREN,
    WAIT,
    Recorder,
    dial,
    on_loop,
    receive,
    served,
    until,
)
from places import TOOLS

# Serves with few descriptors, from which it is told to take all or give them back.
PROGRAM = """
import logging, os, resource, sys, threading
import ringnet
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
logging.basicConfig(format="%(message)s")

class Echo(ringnet.EventHandler):
    def on_boot(self, engine):
        print(engine.addresses[0].rpartition(":")[2], flush=True)
    def on_traffic(self, conn):
        conn.write(conn.next())

with ringnet.Engine(Echo(), "tcp://127.0.0.1:0", backend=sys.argv[1]) as engine:
    taken = []
    for line in sys.stdin:
        if line == "take\\n":
            try:
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                pass
        else:
            while taken:
                os.close(taken.pop())
        print(engine.count_connections(), flush=True)
"""


class Child:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.port = int(self.line())

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def ask(self, what: str) -> int:
        assert self.process.stdin is not None
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return int(self.line())

    def dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)


@contextmanager
def child(backend: str) -> Iterator[Child]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=TOOLS,
    )
    try:
        yield Child(process)
    finally:
        if process.returncode is None:
            process.kill()
            process.communicate(timeout=WAIT)


def is_served(sock: socket.socket) -> bool:
    try:
        sock.sendall(b"hello")
        return receive(sock, 5) == b"hello"
    except OSError:
        return False


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_without_descriptors_newcomers_are_closed_and_the_others_served(backend: str) -> None:
    with child(backend) as there, ExitStack() as stack:
        old = [stack.enter_context(there.dial()) for _ in range(3)]
        assert all(is_served(sock) for sock in old)
        for _ in range(3):
            there.ask("take")
            for _ in range(20):
                with there.dial() as newcomer:
                    assert not is_served(newcomer), "there is no descriptor for it"
            assert all(is_served(sock) for sock in old)
            there.ask("give back")
            new = [stack.enter_context(there.dial()) for _ in range(3)]
            assert all(is_served(sock) for sock in new), "it has recovered by itself"
        _, log = there.process.communicate(timeout=WAIT)
        assert there.process.returncode == 0
        assert log.count("new connections are closed: Too many open files") == 1, log


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flood_of_connections_up_to_the_limit_of_descriptors(backend: str) -> None:
    """In this process: the clients have the same limit, so some of them are refused as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with served(backend, Recorder()) as engine, dial(engine) as old, ExitStack() as stack:
        assert is_served(old)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 300), hard))
        try:
            with pytest.raises(OSError, match=r"Too many open files|reset"):
                while True:
                    stack.enter_context(dial(engine))
            assert is_served(old)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        stack.close()
        with dial(engine) as new:
            until(lambda: is_served(new) or reconnect(engine))
        until(lambda: engine.count_connections() <= 2)


def reconnect(engine: ringnet.Engine) -> bool:
    with dial(engine) as again:
        return is_served(again)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
def test_at_max_connections_newcomers_are_closed(
    backend: str, reactors: int, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        served(backend, Recorder(), max_connections=3, reactors=reactors) as engine,
        ExitStack() as stack,
    ):
        first = [stack.enter_context(dial(engine)) for _ in range(3)]
        assert all(is_served(sock) for sock in first)
        for _ in range(5):
            with dial(engine) as newcomer:
                assert not is_served(newcomer)
        first[0].close()
        until(lambda: engine.count_connections() == 2)
        assert is_served(stack.enter_context(dial(engine)))
    assert caplog.text.count("new connections are closed") == 1


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
def test_at_max_connections_newcomers_wait(backend: str, reactors: int) -> None:
    options = {"max_connections": 3, "at_max_connections": "wait", "reactors": reactors}
    with served(backend, Recorder(), **options) as engine, ExitStack() as stack:
        clients = [stack.enter_context(dial(engine)) for _ in range(12)]
        for number, client in enumerate(clients):
            client.settimeout(WAIT)
            assert is_served(client), "its turn has come"
            assert engine.count_connections() <= 3
            if number < 9:
                clients[number + 3].settimeout(0.02)
                clients[number + 3].sendall(b"w")
                with pytest.raises(TimeoutError):
                    clients[number + 3].recv(1)
                client.close()
                clients[number + 3].settimeout(WAIT)
                assert receive(clients[number + 3], 1) == b"w"
        until(lambda: engine.budget.is_resting)
        clients[-1].close()
        until(lambda: not engine.budget.is_resting)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_a_shortage_does_not_end_the_rest(backend: str, number: int) -> None:
    """STALLED may come behind the newcomer with whom it has begun to rest."""
    options = {"max_connections": 1, "at_max_connections": "wait"}
    with served(backend, Recorder(), **options) as engine, ExitStack() as stack:
        (reactor,) = engine.group.reactors
        first, second = (stack.enter_context(dial(engine)) for _ in range(2))
        assert is_served(first)
        until(lambda: engine.budget.is_resting)
        (listener,) = reactor.acceptor._listeners
        for _ in range(3):
            on_loop(reactor, lambda: reactor.acceptor.on_stalled(listener, -number, 0))
        others = [stack.enter_context(dial(engine)) for _ in range(20)]
        over = Event()
        reactor.face.schedule(0.3, over.set)  # longer than it rests for want of memory
        assert over.wait(WAIT)
        assert is_served(first)
        assert len(reactor.acceptor._waiting) == 1
        for there, then in pairwise([first, second, *others]):
            there.close()
            assert is_served(then), "its turn has come"


@pytest.mark.parametrize("backend", BACKENDS)
def test_stopping_with_newcomers_that_wait(backend: str) -> None:
    options = {"max_connections": 1, "at_max_connections": "wait"}
    with served(backend, Recorder(), **options) as engine, dial(engine) as first:
        assert is_served(first)
        with dial(engine) as second:
            second.settimeout(0.05)
            with pytest.raises(TimeoutError):
                second.recv(1)
            engine.request_stop()
            second.settimeout(WAIT)
            assert not is_served(second)
