"""Stopping lets handlers finish, and a successor takes over without a refused connection."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
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
    endpoint,
    receive,
    served,
    until,
)
from places import ROOT

MOST = 400  # connections whose two ends are ours: select takes no descriptor from 1024 on


class Finishes(Recorder):
    """Answers each line; once draining, the next answer is the last."""

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        if not conn.peek().endswith(b"\n"):
            return None
        conn.write(conn.next())
        return ringnet.Action.CLOSE if conn.loop.is_stopping else None

    def on_drain(self, conn: ringnet.Connection) -> None:
        self.seen.put(("drain", conn))


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_has_begun_is_finished(backend: str) -> None:
    handler = Finishes()
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend).start()
    with dial(engine) as client:
        client.sendall(b"a request that is only ha")
        handler.expect("open")
        engine.request_stop()
        handler.expect("drain")
        with pytest.raises(ConnectionRefusedError):
            until_refused(engine)
        client.sendall(b"lf there\n")
        assert receive(client, 100) == b"a request that is only half there\n"
        # Those who were accepted at the last moment, while this one asked, have their ends too.
        ends = []
        while (event := handler.seen.get(timeout=WAIT))[0] != "shutdown":
            ends.append(event)
    assert {error for name, error in ends if name == "close"} == {None}
    assert engine.wait(WAIT)


def until_refused(engine: ringnet.Engine) -> None:
    deadline = monotonic() + WAIT
    while monotonic() < deadline:
        dial(engine).close()
        sleep(0.01)


@pytest.mark.parametrize("backend", BACKENDS)
def test_draining_has_an_end(backend: str) -> None:
    handler = Finishes()
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend).start()
    with dial(engine):
        handler.expect("open")
        start = monotonic()
        assert engine.stop(timeout=0.3)
        assert 0.29 < monotonic() - start < WAIT
        handler.expect("drain")
        handler.expect("close")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_handler_that_does_not_drain_is_closed_with_what_is_owed(backend: str) -> None:
    class Owes(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.write(bytes(5_000_000))
            self.seen.put(("owes", None))

    handler = Owes()
    engine = ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend).start()
    with dial(engine) as client:
        client.sendall(b"x")
        handler.expect("open")
        handler.expect("owes")
        stops = threading.Thread(target=engine.stop)
        stops.start()
        assert len(receive(client, 5_000_001)) == 5_000_000
        client.close()
        stops.join(WAIT)
    assert not engine.is_running


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("reactors", [1, 2])
def test_newcomers_of_the_last_moment_are_served(backend: str, reactors: int) -> None:
    """Who was accepted is drained like the others, also where another reactor gets it."""
    handler = Finishes()
    engine = ringnet.Engine(
        handler, "tcp://127.0.0.1:0", backend=backend, reactors=reactors
    ).start()
    keep = engine.dup_listener()  # so that whom nobody accepted is not reset
    lost = 0
    with keep:
        clients = [dial(engine) for _ in range(MOST // 4)]
        handler.expect("open")  # one is served at least, however busy this machine is
        stopping = threading.Thread(target=engine.request_stop)
        stopping.start()
        clients += [dial(engine) for _ in range(MOST - len(clients))]
        stopping.join(WAIT)
        accepted_later = 0
        for client in clients:
            client.sendall(b"line\n")
        engine.wait(WAIT)
        keep.setblocking(False)
        try:
            while True:
                keep.accept()[0].close()
                accepted_later += 1
        except BlockingIOError:
            pass
        for client in clients:
            try:
                lost += receive(client, 5) != b"line\n"
            except ConnectionResetError:
                lost += 1
            client.close()
        assert lost == accepted_later, "all that the engine has accepted were served"
        assert len(clients) > accepted_later


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_the_second_signal_ends_at_once(backend: str) -> None:
    program = (
        "import ringnet, sys\n"
        "class Never(ringnet.EventHandler):\n"
        "    def on_boot(self, engine): print(engine.addresses[0], flush=True)\n"
        "    def on_drain(self, conn): print('drain', flush=True)\n"
        "ringnet.run(Never(), 'tcp://127.0.0.1:0', backend=sys.argv[1], stop_timeout=60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, backend], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        host, port = process.stdout.readline().strip().removeprefix("tcp://").split(":")
        with socket.create_connection((host, int(port)), timeout=WAIT):
            sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.stdout.readline() == "drain\n"
            start = monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(WAIT) == 0
            assert monotonic() - start < 10
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("scheme", ["tcp://127.0.0.1:0", "unix", "udp://127.0.0.1:0"])
def test_a_successor_listens_on_what_it_inherits(backend: str, scheme: str, tmp_path: Path) -> None:
    path = tmp_path / "server.sock"
    address = f"unix://{path}" if scheme == "unix" else scheme
    first = ringnet.Engine(Recorder(), address, backend=backend).start()
    where = first.addresses
    (fd,) = first.hand_over()[where[0]]
    assert os.get_inheritable(fd)
    with ringnet.Engine(Recorder(), f"fd://{fd}", backend=backend) as second:
        assert second.addresses == where
        assert not os.get_inheritable(fd)
        first.stop()
        if scheme == "unix":
            assert path.exists(), "it is the successor's"
        with connected(where[0]) as client:
            client.sendall(b"hello")
            assert client.recv(10) == b"hello"
    assert not path.exists()


def connected(address: str) -> socket.socket:
    scheme, _, rest = address.partition("://")
    kind = socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM
    sock = socket.socket(socket.AF_UNIX if scheme == "unix" else socket.AF_INET, kind)
    sock.settimeout(WAIT)
    host, _, port = rest.rpartition(":")
    sock.connect(rest if scheme == "unix" else (host, int(port)))
    return sock


def test_descriptors_that_cannot_be_inherited(tmp_path: Path) -> None:
    with open(tmp_path / "file", "wb") as file, pytest.raises(ringnet.BindError, match="socket"):
        ringnet.Engine(Recorder(), f"fd://{os.dup(file.fileno())}").start()
    with socket.create_server(("127.0.0.1", 0)) as there:
        with socket.create_connection(there.getsockname(), WAIT) as sock:
            with pytest.raises(ringnet.BindError, match="not a listening socket"):
                ringnet.Engine(Recorder(), f"fd://{os.dup(sock.fileno())}").start()
    with pytest.raises(ringnet.BindError, match="inherited"):
        ringnet.Engine(Recorder(), "fd://987654").start()
    for wrong in ("fd://", "fd://x", "fd://-1", "fd://1.5", "fd://99999999999"):
        with pytest.raises(ringnet.AddressError, match="fd://3"):
            ringnet.Engine(Recorder(), wrong)
    with ringnet.Client(Recorder()) as client, pytest.raises(ringnet.AddressError):
        client.dial("fd://3")


class Load:
    """Clients that connect, ask, and ask again until they are told that it was the last time."""

    def __init__(self, where: tuple[str, int]) -> None:
        self.where = where
        self.requests = 0
        self.failures: list[str] = []
        self.pids: set[bytes] = set()
        self.over = False
        self.threads = [threading.Thread(target=self.run) for _ in range(4)]
        for thread in self.threads:
            thread.start()

    def run(self) -> None:
        while not self.over:
            try:
                self.connection()
            except OSError as error:
                self.failures.append(repr(error))

    def connection(self) -> None:
        with socket.create_connection(self.where, timeout=WAIT) as sock:
            for _ in range(20):
                sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                answer = b""
                while b"\r\n\r\n" not in answer:
                    part = sock.recv(65536)
                    if not part:
                        self.failures.append(f"the end came after {answer!r}")
                        return
                    answer += part
                self.requests += 1
                head, _, body = answer.partition(b"\r\n\r\n")
                assert body.startswith(b"process ")
                self.pids.add(body)
                if b"Connection: close" in head:
                    return

    def end(self) -> None:
        self.over = True
        for thread in self.threads:
            thread.join(WAIT)


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_twenty_restarts_without_a_refused_or_broken_request(backend: str) -> None:
    """The example starts its successor at SIGHUP, hands its sockets over, and drains."""
    command = [sys.executable, "examples/restart.py", "tcp://127.0.0.1:0", "--backend", backend]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pid = 0
    try:
        assert first.stdout is not None
        pid, where = serving(first.stdout.readline())
        load = Load(where)
        try:
            for _ in range(20):
                before = load.requests
                until(lambda before=before: load.requests > before + 20)  # type: ignore[misc]
                os.kill(pid, signal.SIGHUP)
                pid, again = serving(first.stdout.readline())
                assert again == where
            until(lambda: any(str(pid).encode() in body for body in load.pids))
        finally:
            load.end()
        assert load.failures == []
        assert len(load.pids) == 21
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)
        first.communicate(timeout=WAIT)


def serving(line: str) -> tuple[int, tuple[str, int]]:
    """`PID serves on tcp://HOST:PORT`, which each process prints when it does."""
    pid, _, rest = line.partition(" serves on ")
    host, _, port = rest.strip().removeprefix("tcp://").rpartition(":")
    return int(pid), (host, int(port))


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_reactors_own_listeners_are_handed_over(backend: str) -> None:
    options: dict[str, Any] = {"reactors": 2, "reuse_port": True}
    with served(backend, Recorder(), **options) as first:
        fds = first.hand_over()[first.addresses[0]]
        assert len(fds) == 2
        where = endpoint(first)
        addresses = [f"fd://{fd}" for fd in fds]
        with ringnet.Engine(Recorder(), *addresses, backend=backend, **options):
            first.stop()
            for _ in range(20):
                with socket.create_connection(where, WAIT) as client:
                    client.sendall(b"x")
                    assert receive(client, 1) == b"x"
