"""Time limits where the loop itself was late: what came meanwhile is read before one passes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

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
    send_all_aside,
    served,
)

LIMIT = 0.4  # seconds
LATE = 3 * LIMIT  # seconds in which the loop stands still
TIGHT = {"events_per_turn": 4, "receive_buffers": 1, "receive_buffer_size": 64}
ALIVE = 30  # peers


def stand_still(loop: ringnet.EventLoop) -> None:
    """As a handler that takes long."""
    on_loop(loop, lambda: sleep(LATE))


@contextmanager
def talking(clients: list[socket.socket]) -> Iterator[None]:
    """Each says something again and again."""
    is_over = threading.Event()

    def talk() -> None:
        while not is_over.wait(LIMIT / 10):
            for client in clients:
                client.sendall(b"x")

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tight", [False, True])
@pytest.mark.parametrize("limit", ["read_timeout", "idle_timeout"])
def test_those_who_talk_are_alive(backend: str, tight: bool, limit: str) -> None:
    """Also where they are too many for the buffers of one turn. Who is silent is not."""
    handler = Recorder()
    handler.on_traffic = lambda conn: conn.discard() and None  # type: ignore[method-assign]
    options: dict[str, Any] = {limit: LIMIT, **(TIGHT if tight else {})}
    with served(backend, handler, **options) as engine:
        clients = [dial(engine) for _ in range(ALIVE)]
        with talking(clients):
            silent = dial(engine)
            for _ in range(ALIVE + 1):
                handler.expect("open")
            for _ in range(2):
                stand_still(engine.reactors[0])
            error = handler.expect("close")
            assert isinstance(error, TimeoutError)
            assert limit in str(error)
            assert silent.recv(1) == b""
            sleep(LIMIT)  # in which others would be closed
            assert handler.seen.empty()
            assert engine.count_connections() == ALIVE
        for client in (silent, *clients):
            client.close()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("tight", [False, True])
def test_a_first_byte_that_was_there_in_time(backend: str, tight: bool) -> None:
    handler = Recorder()
    options: dict[str, Any] = {"first_byte_timeout": LIMIT, **(TIGHT if tight else {})}
    with served(backend, handler, **options) as engine:
        clients = [dial(engine) for _ in range(ALIVE)]
        for _ in clients:
            handler.expect("open")
        late = threading.Thread(target=stand_still, args=(engine.reactors[0],))
        late.start()
        for client in clients:
            client.sendall(b"x" * 100)
        late.join(WAIT)
        for client in clients:
            assert receive(client, 100) == b"x" * 100
            client.close()
        for _ in clients:
            assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_deadline_whose_request_was_there_in_time(backend: str) -> None:
    """Of a hundred reads; but one who sends on and on is cut off."""
    size = 6_400

    class Asks(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            conn.set_deadline(LIMIT)
            super().on_open(conn)

        def on_traffic(self, conn: ringnet.Connection) -> None:
            if conn.inbound_buffered == size and conn.context is None:
                conn.set_deadline(None)
                conn.write(conn.next())

    handler = Asks()
    with served(backend, handler, receive_buffer_size=64) as engine:
        with dial(engine) as client:
            conn = handler.expect("open")
            late = threading.Thread(target=stand_still, args=(conn.loop,))
            late.start()
            client.sendall(bytes(size))
            late.join(WAIT)
            assert receive(client, size) == bytes(size)
        assert handler.expect("close") is None
        with dial(engine) as endless:
            conn = handler.expect("open")
            conn.context = "endless"
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                while True:
                    endless.sendall(bytes(65_536))
        assert isinstance(handler.expect("close"), TimeoutError)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("what", ["write_timeout", "close_timeout"])
def test_a_peer_that_reads_is_sent_to(backend: str, what: str) -> None:
    data = bytes(range(256)) * 32_000  # 8 MB

    class Owes(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.next()
            conn.write(data)
            if what == "close_timeout":
                conn.close()
            conn.loop.execute(lambda: sleep(2 * LATE))

    handler = Owes()
    options: dict[str, Any] = {what: 4 * LIMIT}
    with served(backend, handler, **options) as engine, dial(engine) as client:
        client.sendall(b"x")
        assert receive(client, len(data)) == data
        handler.expect("open")
        client.close()
        assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_answer_is_not_lost_to_a_peer_that_goes_on(backend: str) -> None:
    """It lingers: what the peer sent meanwhile would make a close to a reset."""

    class Refuses(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action:
            conn.write(b"no")
            conn.loop.schedule(0.05, lambda: sleep(LATE))
            return ringnet.Action.CLOSE

    handler = Refuses()
    with served(backend, handler, linger_timeout=LIMIT) as engine, dial(engine) as client:
        sends = send_all_aside(client, bytes(8_000_000))
        handler.expect("open")
        sends.join(WAIT)
        client.shutdown(socket.SHUT_WR)
        assert receive(client, 3) == b"no"
        assert handler.expect("close") is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dial_that_has_worked_by_then(backend: str) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, socket.create_server(("127.0.0.1", 0)) as peer:
        address = f"tcp://127.0.0.1:{peer.getsockname()[1]}"
        loop = engine.reactors[0]
        made: list[Future[ringnet.Connection]] = []

        def dial_and_stand_still() -> None:
            made.append(loop.register(address, timeout=LIMIT))
            loop.execute(lambda: sleep(LATE))  # right after the dial's begin

        on_loop(loop, dial_and_stand_still)
        made[0].result(WAIT)
        handler.expect("open")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_dial_to_nobody_ends_in_time(backend: str) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = f"tcp://127.0.0.1:{full.getsockname()[1]}"
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        began = monotonic()
        with pytest.raises(TimeoutError):
            engine.register(address, timeout=LIMIT).result(WAIT)
        assert LIMIT - 0.02 <= monotonic() - began < WAIT / 2
        for filler in fillers:
            filler.close()


CHILD = """
import sys, ringnet
class Echo(ringnet.EventHandler):
    def on_boot(self, engine): print(engine.addresses[0], flush=True)
    def on_traffic(self, conn): conn.write(conn.next())
    def on_close(self, conn, error): print("closed", error, flush=True)
ringnet.run(Echo(), "tcp://127.0.0.1:0", backend=sys.argv[1], read_timeout=0.4, events_per_turn=4)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_a_process_that_is_stopped(backend: str) -> None:
    """By SIGSTOP, as a debugger or a snapshot of a virtual machine would."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, backend], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        host, _, port = child.stdout.readline().strip().rpartition("/")[2].rpartition(":")
        clients = [socket.create_connection((host, int(port)), WAIT) for _ in range(ALIVE)]
        with talking(clients):
            for client in clients:
                assert receive(client, 1) == b"x"
            os.kill(child.pid, signal.SIGSTOP)
            sleep(LATE)
            os.kill(child.pid, signal.SIGCONT)
            sleep(LIMIT)
            for client in clients:
                assert receive(client, 20) == b"x" * 20
    finally:
        child.kill()
        said = child.stdout.read()
        child.wait(WAIT)
        child.stdout.close()
    for client in clients:
        client.close()
    assert "closed" not in said
