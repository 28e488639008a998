"""The examples of datagrams, Unix sockets, clients and worker pools, with real peers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dns.flags
import dns.message
import dns.rrset
import pytest
from engine_tools import IN_CHILDREN, WAIT, receive, until
from real_clients import EXAMPLES, example, example_at, run

EACH = pytest.mark.parametrize("backend", IN_CHILDREN)
BOTH = pytest.mark.parametrize("backend", ["io_uring", "epoll"])


@contextmanager
def resolver(port: int = 0) -> Iterator[int]:
    """An upstream that knows every name."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", port))

    def answer() -> None:
        while True:
            data, asker = sock.recvfrom(4096)
            if not data:
                return
            reply = dns.message.make_response(dns.message.from_wire(data))
            reply.flags |= dns.flags.RA
            name = reply.question[0].name
            last = len(name.labels[0])
            reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", f"192.0.2.{last}"))
            sock.sendto(reply.to_wire(), asker)

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield sock.getsockname()[1]
    finally:
        sock.sendto(b"", sock.getsockname())
        thread.join(WAIT)
        sock.close()


@EACH
def test_dig_asks_the_dns_forwarder(backend: str) -> None:
    with resolver() as upstream:
        more = ("--upstream", f"udp://127.0.0.1:{upstream}")
        with example_at("dns_forwarder", "udp://127.0.0.1:0", backend, *more) as address:
            port = address.rpartition(":")[2]
            for name in ("a.example", "bcd.example"):
                said = run("dig", "@127.0.0.1", "-p", port, "+tries=1", "+time=10", "+short", name)
                assert said.strip() == f"192.0.2.{len(name.partition('.')[0])}"


@EACH
def test_queries_of_many_with_the_same_number(backend: str) -> None:
    with resolver() as upstream:
        more = ("--upstream", f"udp://127.0.0.1:{upstream}")
        with example_at("dns_forwarder", "udp://127.0.0.1:0", backend, *more) as address:
            peers = []
            for number in range(1, 40):
                peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                peer.settimeout(WAIT)
                peer.connect(("127.0.0.1", int(address.rpartition(":")[2])))
                query = dns.message.make_query("x" * number + ".example", "A")
                query.id = 77
                peer.send(query.to_wire())
                peers.append(peer)
            for number, peer in enumerate(peers, 1):
                reply = dns.message.from_wire(peer.recv(4096))
                assert reply.id == 77
                assert reply.answer[0][0].to_text() == f"192.0.2.{number}"
                peer.close()


@EACH
def test_an_upstream_that_comes_back_is_asked_again(backend: str) -> None:
    """A refused query closes the connection to it; the next query makes another."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as nobody:
        nobody.bind(("127.0.0.1", 0))
        upstream = nobody.getsockname()[1]
    more = ("--upstream", f"udp://127.0.0.1:{upstream}")
    with example_at("dns_forwarder", "udp://127.0.0.1:0", backend, *more) as address:
        port = int(address.rpartition(":")[2])
        query = dns.message.make_query("abc.example", "A")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.connect(("127.0.0.1", port))
            peer.send(query.to_wire())
            with resolver(upstream):
                for _ in range(20):  # the first ones may still meet the refusal
                    peer.settimeout(1)
                    peer.send(query.to_wire())
                    with contextlib.suppress(TimeoutError):
                        reply = dns.message.from_wire(peer.recv(4096))
                        break
    assert reply.answer[0][0].to_text() == "192.0.2.3"


@EACH
def test_socat_talks_over_a_unix_socket(backend: str, tmp_path: Path) -> None:
    at = f"unix://{tmp_path}/chat"
    with example_at("chat", at, backend) as address:
        assert address == at
        with socket.socket(socket.AF_UNIX) as listener:
            listener.settimeout(WAIT)
            listener.connect(f"{tmp_path}/chat")
            lines = listener.makefile("rb")
            assert lines.readline().startswith(b"* welcome")
            done = subprocess.run(
                ["socat", "-t", "10", "-", f"UNIX-CONNECT:{tmp_path}/chat"],
                input=b"hello from socat\n",
                capture_output=True,
                timeout=40,
                check=True,
            )
            assert done.stdout.startswith(b"* welcome")
            assert lines.readline().endswith(b"is here\n")
            assert lines.readline().endswith(b": hello from socat\n")
            assert lines.readline().endswith(b"has left\n")
            lines.close()
    assert not (tmp_path / "chat").exists()


@EACH
def test_curl_and_wrk_through_the_proxy(backend: str) -> None:
    with example("http_server", backend) as target:
        more = ("--target", f"tcp://127.0.0.1:{target}", "--reactors", "2")
        with example("tcp_proxy", backend, *more) as port:
            at = f"http://127.0.0.1:{port}"
            assert "Hello from ringnet!" in run("curl", "-sS", f"{at}/")
            size = run(
                "curl", "-sS", "-o", "/dev/null", "-w", "%{size_download}", f"{at}/bytes/9000000"
            )
            assert size == "9000000"
            said = run("wrk", "-t1", "-c50", "-d1s", f"{at}/")
            assert int(re.findall(r"(\d+) requests in", said)[0]) > 100
            assert "Socket errors" not in said
            assert "Non-2xx" not in said


@EACH
def test_a_proxy_without_a_target_closes(backend: str) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        more = ("--target", f"tcp://127.0.0.1:{nobody.getsockname()[1]}")
        with example("tcp_proxy", backend, *more) as port:
            with socket.create_connection(("127.0.0.1", port), WAIT) as client:
                assert client.recv(10) == b""


@EACH
def test_uploads_are_hashed(backend: str) -> None:
    def upload(port: int) -> None:
        with socket.create_connection(("127.0.0.1", port), WAIT) as client:
            parts = [os.urandom(size) for size in (0, 1, 1000, 5_000_000, 7)]
            sender = threading.Thread(
                target=lambda: [client.sendall(b"%d\n" % len(p) + p) for p in parts]
            )
            sender.start()
            expected = b"".join(hashlib.sha256(p).hexdigest().encode() + b"\n" for p in parts)
            if receive(client, len(expected)) == expected:
                right.append(1)
            sender.join()

    right: list[int] = []
    with example("hash_server", backend, "--reactors", "2") as port:
        people = [threading.Thread(target=upload, args=(port,)) for _ in range(8)]
        for person in people:
            person.start()
        for person in people:
            person.join(WAIT)
        assert len(right) == 8
        with socket.create_connection(("127.0.0.1", port), WAIT) as client:
            client.sendall(b"99999999\n")
            assert b"was expected" in receive(client, 1000)


@EACH
def test_the_port_scanner_finds_what_is_open(backend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
        found = run(
            sys.executable,
            str(EXAMPLES / "port_scanner.py"),
            "127.0.0.1",
            f"{port}-{port}",
            "--backend",
            backend,
        )
        assert found == f"{port} open\n"
    some = run(
        sys.executable,
        str(EXAMPLES / "port_scanner.py"),
        "127.0.0.1",
        "1-700",
        "--backend",
        backend,
    )
    assert all(re.fullmatch(r"\d+ open", line) for line in some.splitlines())
    for command, says in (("port_scanner.py", "port_scanner.py: "), ("many_clients.py", "refused")):
        wrong = "no..such" if command == "port_scanner.py" else "tcp://127.0.0.1:1"
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / command), wrong, "--backend", backend],
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert done.returncode == 1
        assert says in done.stderr
        assert "Traceback" not in done.stderr


@BOTH
def test_ten_thousand_client_connections_in_one_process(backend: str) -> None:
    with example("echo", backend) as port:
        said = run(
            sys.executable,
            str(EXAMPLES / "many_clients.py"),
            f"tcp://127.0.0.1:{port}",
            "--connections",
            "10000",
            "--backend",
            backend,
        )
    assert "10000 connections open, 0 unanswered, 0 wrong" in said


def test_the_buffers_example() -> None:
    said = run(sys.executable, str(EXAMPLES / "buffers.py"))
    assert "ShortBuffer: 1000 bytes requested, but" in said
    assert "b'smalloverflowing'" in said


@BOTH
@pytest.mark.parametrize(
    "option",
    [
        "reuse_port=True",
        "load_balancing=source_hash",
        "cpus=(0,)",
        "tcp_keepalive=60",
        "edge_triggered=True",
    ],
)
def test_options_on_the_command_line(backend: str, option: str) -> None:
    """The commands of the table of features."""
    with example("echo", backend, "--reactors", "2", "--option", option) as port:
        with socket.create_connection(("127.0.0.1", port), WAIT) as client:
            client.sendall(b"x")
            assert client.recv(1) == b"x"


SERVERS = ("echo", "http_server", "redis_server", "chat", "tcp_proxy", "hash_server")


@BOTH
@pytest.mark.parametrize("name", SERVERS)
def test_ctrl_c_ends_a_server(backend: str, name: str) -> None:
    """Also with somebody connected, and with nothing on its standard error."""
    with example(name, backend, "--option", "linger_timeout=0.1", end=signal.SIGINT) as port:
        client = socket.create_connection(("127.0.0.1", port), WAIT)
    client.close()


@BOTH
@pytest.mark.parametrize("name", ["port_scanner", "many_clients"])
def test_ctrl_c_ends_a_client(backend: str, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        port = silent.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for peer in waiting:  # a full backlog answers nobody
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", port))
        at = ("127.0.0.1", f"{port}-{port}", "--timeout", "50")
        process = subprocess.Popen(
            [
                sys.executable,
                str(EXAMPLES / f"{name}.py"),
                *(at if name == "port_scanner" else (f"tcp://127.0.0.1:{port}",)),
                "--backend",
                backend,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            until(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1)  # it has a reactor
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=WAIT)
        finally:
            process.kill()
            process.communicate(timeout=WAIT)
            for peer in waiting:
                peer.close()
    assert err == ""
    assert process.returncode == 130


# A log filter that Ctrl-C interrupts, and that then blocks the reactor's thread: so it is when the
# interrupt leaves a lock of `logging` locked.
INTERRUPTED_LOG = """
import functools, logging, runpy, signal, sys, threading
import ringnet

def interrupt(record):
    if threading.current_thread() is not threading.main_thread():
        threading.Event().wait()
    signal.raise_signal(signal.SIGINT)

logger = logging.getLogger("ringnet")
logger.setLevel(logging.INFO)
logger.addFilter(interrupt)
ringnet.Client = functools.partial(ringnet.Client, stop_timeout=0)
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@BOTH
@pytest.mark.parametrize("name", ["port_scanner", "many_clients"])
def test_ctrl_c_ends_a_client_before_its_first_dial(backend: str, name: str) -> None:
    """The engine is stopping then, and refuses to dial."""
    where = "127.0.0.1" if name == "port_scanner" else "tcp://127.0.0.1:1"
    ended = subprocess.run(
        [
            *(sys.executable, "-c", INTERRUPTED_LOG),
            *(str(EXAMPLES / f"{name}.py"), where, "--backend", backend),
        ],
        env={**os.environ, "PYTHONPATH": str(EXAMPLES)},
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert ended.stderr == ""
    assert ended.returncode == 130
