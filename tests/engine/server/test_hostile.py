"""Hostile conditions: slow and rude peers, forks, interpreters that end, a ring that fails."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    IN_CHILDREN,
    WAIT,
    Recorder,
    dial,
    endpoint,
    on_loop,
    open_descriptors,
    receive,
    served,
    until,
)
from places import ROOT
from real_clients import run
from setback_tools import break_backend


@pytest.mark.parametrize("backend", BACKENDS)
def test_peers_that_connect_and_reset(backend: str) -> None:
    """Thousands of them, before, during and after they are accepted."""
    handler = Recorder()
    with served(backend, handler, reactors=2) as engine, dial(engine) as good:
        good.sendall(b"hello")
        assert receive(good, 5) == b"hello"  # it is accepted, so the engine has all that it keeps
        before = open_descriptors()
        for number in range(2_000):
            rude = socket.socket()
            rude.setblocking(False)
            assert rude.connect_ex(endpoint(engine)) in (0, errno.EINPROGRESS)
            if number % 3:
                try:
                    rude.send(b"x" * (number % 7))
                except OSError:
                    pass
            rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            rude.close()
            if number % 100 == 0:
                good.sendall(b"hello")
                assert receive(good, 5) == b"hello"
        until(lambda: engine.count_connections() == 1)
        until(lambda: open_descriptors() <= before)


@pytest.mark.parametrize("backend", BACKENDS)
def test_slow_loris(backend: str) -> None:
    """Many that send a byte now and then are cut off by their deadline; others are served."""
    count = 300 if backend == "select" else 1_000

    class Requests(Recorder):
        def on_open(self, conn: ringnet.Connection) -> None:
            conn.set_deadline(1.5)

        def on_traffic(self, conn: ringnet.Connection) -> None:
            if conn.peek().endswith(b"\n"):
                conn.set_deadline(None)
                conn.write(conn.next())

        def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
            self.seen.put(("close", error))

    handler = Requests()
    with served(backend, handler) as engine, dial(engine) as good:
        good.sendall(b"hello\n")
        assert receive(good, 6) == b"hello\n"
        slow = [dial(engine) for _ in range(count)]
        begun = monotonic()
        rounds = 0
        while engine.count_connections() > 1 or monotonic() < begun + 0.5:
            assert monotonic() < begun + WAIT
            for sock in slow[rounds % 10 :: 10]:
                try:
                    sock.send(b"x")
                except OSError:
                    pass
            rounds += 1
            good.sendall(b"hello\n")
            assert receive(good, 6) == b"hello\n"
        for sock in slow:
            sock.close()
        for _ in range(count):
            assert isinstance(handler.expect("close"), TimeoutError)


FORKS = """
import os, queue, sys
import ringnet

class Echo(ringnet.EventHandler):
    forked = queue.Queue()
    def on_open(self, conn):
        self.conn = conn
    def on_traffic(self, conn):
        if conn.peek() == b"fork":
            conn.next()
            pid = os.fork()
            if pid == 0:
                checks(conn)
            self.forked.put(pid)
            return
        conn.write(conn.next())

def refused(call, *arguments):
    try:
        call(*arguments)
    except ringnet.EngineStateError as error:
        assert "process" in str(error), error
        return
    raise AssertionError(f"{call} was allowed in a forked child")

def checks(conn):
    try:
        for call in (engine.validate, engine.stop, engine.wait, engine.hand_over, conn.next,
                     conn.peek, conn.reset, conn.wake, conn.loop.schedule):
            refused(call, *((0, print) if call == conn.loop.schedule else ()))
        refused(conn.write, b"x")
        refused(conn.async_write, b"x")
        refused(conn.loop.execute, print)
        refused(engine.register, "tcp://127.0.0.1:1")
        with ringnet.Engine(Echo(), "tcp://127.0.0.1:0", backend=sys.argv[1]) as own:
            own.validate()
        os._exit(7)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)

handler = Echo()
with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=sys.argv[1]) as engine:
    print(engine.addresses[0].rpartition(":")[2], flush=True)
    sys.stdin.readline()
    pid = os.fork()
    if pid == 0:
        checks(handler.conn)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    sys.stdin.readline()
    pid = handler.forked.get(timeout=20)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
    if os.fork() == 0:
        sys.exit(0)  # with its atexit calls: they may not wait for threads that are not there
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_a_forked_child_is_told_and_the_parent_goes_on(backend: str) -> None:
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", FORKS, backend],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:

            def echoes() -> None:
                for number in range(50):
                    client.sendall(b"%04d" % number)
                    assert receive(client, 4) == b"%04d" % number

            def go_on() -> None:
                assert process.stdin is not None
                process.stdin.write("\n")
                process.stdin.flush()

            echoes()
            go_on()
            assert process.stdout.readline() == "7\n", process.communicate()[1]
            echoes()
            client.sendall(b"fork")  # in the handler, on the reactor's thread
            go_on()
            assert process.stdout.readline() == "7\n", process.communicate()[1]
            assert process.stdout.readline() == "0\n", process.communicate()[1]
            echoes()
        _, err = process.communicate("\n", timeout=WAIT)
        assert process.returncode == 0
        assert err == ""
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


LIVES_ON = """
import os, signal, sys
import ringnet

class Ends(ringnet.EventHandler):
    def on_traffic(self, conn):
        conn.next()
        self.child = os.fork()
        if self.child == 0:
            signal.alarm(60)
            while True:
                signal.pause()
        getattr(conn, sys.argv[2])()

handler = Ends()
with ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=sys.argv[1]) as engine:
    print(engine.addresses[0].rpartition(":")[2], flush=True)
    sys.stdin.readline()
    os.kill(handler.child, signal.SIGKILL)
    os.waitpid(handler.child, 0)
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("end", ["close_now", "reset", "close"])
def test_a_peer_hears_of_the_end_though_a_forked_child_lives_on(backend: str, end: str) -> None:
    """The child has all descriptors of its parent, and so what a ring of the parent holds."""
    quiet = "ignore:This process:DeprecationWarning"
    with subprocess.Popen(
        [sys.executable, "-W", quiet, "-c", LIVES_ON, backend, end],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.sendall(b"x")
            try:
                came = client.recv(1)
            except ConnectionResetError:
                assert end == "reset"
            else:
                assert (came, end != "reset") == (b"", True)
        process.communicate("\n", timeout=WAIT)
    assert process.returncode == 0


EXITS = """
import socket, sys, threading
import ringnet

class Echo(ringnet.EventHandler):
    def on_traffic(self, conn):
        conn.write(conn.next())
    def on_shutdown(self, engine):
        print("shutdown", flush=True)

engine = ringnet.Engine(Echo(), "tcp://127.0.0.1:0", backend=sys.argv[1], reactors=2).start()
host, port = engine.addresses[0][6:].split(":")
clients = [socket.create_connection((host, int(port))) for _ in range(4)]
for client in clients:
    client.sendall(b"x" * 100000)
if sys.argv[2] == "raises":
    raise SystemExit(3)
if sys.argv[2] == "forgotten":
    del engine
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
@pytest.mark.parametrize("how", ["ends", "raises", "forgotten"])
def test_an_interpreter_that_ends_with_an_engine_running(backend: str, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EXITS, backend, how],
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert done.returncode == (3 if how == "raises" else 0)
    assert done.stdout == "shutdown\n"
    assert done.stderr == ""


@pytest.fixture
def failing() -> Iterator[list[ringnet.Engine]]:
    """Engines that a test breaks."""
    engines: list[ringnet.Engine] = []
    yield engines
    for engine in engines:
        assert not engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_backend_that_fails_at_run_time(backend: str, failing: list[ringnet.Engine]) -> None:
    """Every connection is told, the engine ends, and `wait` raises what it was."""
    handler = Recorder()
    engine = served(backend, handler, reactors=2).start()
    failing.append(engine)
    with dial(engine) as client, dial(engine):
        conn = handler.expect("open")
        handler.expect("open")
        client.sendall(b"x")
        assert receive(client, 1) == b"x"
        on_loop(conn.loop, lambda: break_backend(conn._loop.backend))
        client.sendall(b"x")
        errors = [handler.expect("close"), handler.expect("close")]
        assert any(isinstance(error, OSError) for error in errors)
        handler.expect("shutdown")
        with pytest.raises(OSError):  # noqa: PT011 - each backend fails in its own way
            engine.wait(WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_full_queue_does_not_hold_up_the_engine(backend: str) -> None:
    """Calls of other threads fill the queues of both loops, one of which lets newcomers wait."""
    handler = Recorder()
    options: dict[str, Any] = {"max_connections": 2, "at_max_connections": "wait"}
    engine = served(backend, handler, reactors=2, max_foreign_calls=2, **options).start()
    goes_on = threading.Event()
    with dial(engine) as first, dial(engine) as second, dial(engine) as third:
        for sock in (first, second):
            sock.sendall(b"x")
            assert receive(sock, 1) == b"x"
        until(lambda: engine.budget.is_resting)
        acceptor = engine.reactors[0]
        fill(acceptor, goes_on)
        theirs = [c for c in engine.connections() if c.loop is not acceptor]
        on_loop(theirs[0].loop, theirs[0].close_now)  # its end is told to the acceptor
        until(lambda: engine.count_connections() == 1)
        goes_on.set()
        third.sendall(b"y")
        assert receive(third, 1) == b"y"
        fill(acceptor, goes_on := threading.Event())
        engine.request_stop()
        goes_on.set()
    assert engine.wait(WAIT)


def fill(loop: ringnet.EventLoop, goes_on: threading.Event) -> None:
    """Have a loop wait, and its queue full."""
    is_waiting = threading.Event()

    def wait() -> None:
        is_waiting.set()
        goes_on.wait(WAIT)

    loop.execute(wait)
    assert is_waiting.wait(WAIT)
    with pytest.raises(ringnet.QueueFull):
        while True:
            loop.execute(lambda: None)


def test_an_engine_beside_asyncio() -> None:
    """In one process, each with its own threads."""

    async def ask(where: tuple[str, int]) -> bytes:
        reader, writer = await asyncio.open_connection(*where)
        writer.write(b"hello")
        answer = await reader.readexactly(5)
        writer.close()
        await writer.wait_closed()
        return answer

    with served("auto", Recorder()) as engine:
        assert asyncio.run(ask(endpoint(engine))) == b"hello"


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_normal_traffic_beside_slow_ones_is_measured(backend: str) -> None:
    """A short run of the command that makes the figures: each answer is right, no slow one ends."""
    program = str(ROOT / "perf" / "slow_loris.py")
    said = run(
        sys.executable, program, "--connections", "50", "--seconds", "0.2", "--backends", backend
    )
    name, slow, sent, *_ = said.splitlines()[-1].split()
    assert (name, slow) == (backend, "50")
    assert int(sent) >= 1
