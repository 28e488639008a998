"""The examples beside peers that break the rules: bounds hold, and nobody makes a traceback.

`example` asserts that a program wrote nothing to its standard error.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from engine_tools import IN_CHILDREN, WAIT, receive, until
from places import ROOT
from real_clients import example, example_at

EACH = pytest.mark.parametrize("backend", IN_CHILDREN)


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def ask(port: int, request: bytes) -> bytes:
    """All that is answered to a request, up to the end."""
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as peer:
        with suppress(OSError):  # it may be refused before all of it is sent
            peer.sendall(request)
            peer.shutdown(socket.SHUT_WR)
        return receive(peer, 1 << 24)


GET = b"GET / HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
ONCE = b"Connection: close\r\n\r\n"
# What nginx 1.22 answers, but for 431, which is 400 there.
STATUS = {
    "no host": (GET + ONCE, b"400"),
    "two hosts": (GET + HOST + HOST + ONCE, b"400"),
    "two spellings of host": (GET + b"host: a\r\nHOST: b\r\n" + ONCE, b"400"),
    "an empty host": (GET + b"Host:\r\n" + ONCE, b"400"),
    "a host with a blank": (GET + b"Host: a b\r\n" + ONCE, b"400"),
    "a target with a host, and none besides": (b"GET http://h/ HTTP/1.1\r\n" + ONCE, b"400"),
    "HTTP/2.0": (b"GET / HTTP/2.0\r\n" + HOST + ONCE, b"505"),
    "HTTP/0.9": (b"GET / HTTP/0.9\r\n" + HOST + ONCE, b"400"),
    "HTTP/1.0 without a host": (b"GET / HTTP/1.0\r\n\r\n", b"200"),
    "a field of 70 kB": (GET + HOST + b"X: " + b"y" * 70_000 + b"\r\n" + ONCE, b"431"),
    "a field without an end": (GET + HOST + b"X: " + b"y" * 700_000, b"431"),
    "12,000 fields": (GET + HOST + b"X: y\r\n" * 12_000 + ONCE, b"431"),
    "30 fields of 900 bytes": (GET + HOST + (b"X: " + b"y" * 900 + b"\r\n") * 30 + ONCE, b"200"),
    "a target of 70 kB": (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n" + HOST + ONCE, b"414"),
    "a target that is none": (b"GET x HTTP/1.1\r\n" + HOST + ONCE, b"400"),
    "two lengths": (GET + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n" + ONCE, b"400"),
    "a length and chunks": (
        GET + HOST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + ONCE,
        b"400",
    ),
    "a name with a blank": (GET + HOST + b"X y: z\r\n" + ONCE, b"400"),
}


@EACH
def test_http_requests_that_are_none(backend: str) -> None:
    with example("http_server", backend) as port:
        for what, (request, status) in STATUS.items():
            got = ask(port, request)
            assert re.findall(rb"HTTP/1.1 (\d+)", got) == [status], what
            assert b"Connection: close" in got, what


# What redis-server 7.0 answers; of what it would only wait for, as long as it takes, see below.
REFUSED = {
    b"*1048577\r\n": b"invalid multibulk length",
    b"*2147483647\r\n": b"invalid multibulk length",
    b"*1\r\n$99999999999\r\n": b"invalid bulk length",
    b"*1\r\n$-1\r\n": b"invalid bulk length",
    b"*+1\r\n": b"invalid multibulk length",
    b"*01\r\n": b"invalid multibulk length",
    b"*1\r\n:5\r\n": b"expected '$', got ':'",
    b"*1\r\n*2147483647\r\n": b"expected '$', got '*'",
    b"*" + b"1" * 70_000: b"too big mbulk count string",
    b"*1\r\n$" + b"1" * 70_000: b"too big bulk count string",
    b"PING " + b"x" * 70_000: b"too big inline request",
    b'ECHO "a\r\n': b"unbalanced quotes in request",
    b"ECHO 'a'b\r\n": b"unbalanced quotes in request",
}


@EACH
def test_redis_requests_that_are_none(backend: str) -> None:
    with example("redis_server", backend) as port:
        for request, text in REFUSED.items():
            assert ask(port, b"PING\r\n" + request) == (
                b"+PONG\r\n-ERR Protocol error: " + text + b"\r\n"
            )
        assert ask(port, b"Host: x\r\nSET k v\r\n") == b""
        assert ask(port, b"GET k\r\n") == b"$-1\r\n"
        assert ask(port, b"*2\r\n$5\r\nno\r\nx\r\n$1\r\na\r\n").count(b"\r\n") == 1


@EACH
def test_redis_keeps_nothing_for_what_is_announced(backend: str) -> None:
    with example_at("redis_server", "tcp://127.0.0.1:0", backend) as address:
        port = int(address.rpartition(":")[2])
        announced = [b"*1048576\r\n$4\r\nPING\r\n", b"*2\r\n$4\r\nECHO\r\n$33554432\r\nabc"] * 20
        waiting = []
        for request in announced:
            waiting.append(socket.create_connection(("127.0.0.1", port), timeout=WAIT))
            waiting[-1].sendall(request)
        assert ask(port, b"PING\r\n") == b"+PONG\r\n"
        assert resident(port) < 200_000_000
        for sock in waiting:
            reset(sock)


@EACH
def test_redis_replies_wait_for_a_peer_that_does_not_read(backend: str) -> None:
    value = b"x" * 1_000_000
    with example("redis_server", backend) as port:
        assert ask(port, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\n" + value + b"\r\n")
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as greedy:
            greedy.sendall(b"GET k\r\n" * 2_000)
            assert ask(port, b"PING\r\n") == b"+PONG\r\n"
            assert resident(port) < 200_000_000
            for _ in range(100):  # and they come, as far as it reads
                assert receive(greedy, 10 + len(value) + 2) == b"$1000000\r\n" + value + b"\r\n"


def resident(port: int) -> int:
    """Bytes of memory of the program that listens on a port."""
    return sum(
        int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
        * os.sysconf("SC_PAGE_SIZE")
        for pid in listening(port)
    )


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def listening(port: int) -> list[int]:
    """The children of this process that listen on a port."""
    line = rf"^ *\d+: \w+:{port:04X} \w+:0000 0A (?:\S+ +){{5}}(\d+)"
    table = Path("/proc/net/tcp").read_text(encoding="ascii")
    links = {f"socket:[{inode}]" for inode in re.findall(line, table, re.MULTILINE)}
    found = []
    for pid in children(os.getpid()):
        with suppress(OSError):
            if links & {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}:
                found.append(pid)
    assert len(found) == 1
    return found


@contextmanager
def real_redis(where: Path) -> Iterator[Path]:
    """redis-server on a Unix socket."""
    if shutil.which("redis-server") is None:
        raise AssertionError("redis-server is missing: apt-get install redis-server")
    at = where / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(at), "--save", ""]
    server = subprocess.Popen([*command, "--dir", str(where)], stdout=subprocess.DEVNULL)
    try:
        until(at.exists)
        yield at
    finally:
        server.terminate()
        server.wait(WAIT)


def commands(chance: random.Random) -> bytes:
    """Some commands, and then something wrong with them."""
    stream = bytearray(b"FLUSHALL\r\n")
    for _ in range(chance.randrange(1, 12)):
        words = chance.choice(
            [b"SET k 1", b"GET k", b"INCR k", b"LPUSH l a b", b"LRANGE l 0 -1", b"PING", b"DEL k l",
             b"MSET a 1 b 2", b"MGET a b k", b"ECHO x", b"HSET h f v", b"HGET h f", b"DBSIZE"]
        ).split()  # fmt: skip
        if chance.random() < 0.2:
            stream += b" ".join(words) + chance.choice([b"\n", b"\r\n"])
        else:
            stream += b"*%d\r\n" % len(words)
            stream += b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)
    for _ in range(chance.choice([0, 1, 1, 2, 5])):
        at = chance.randrange(len(b"FLUSHALL\r\n"), len(stream))
        new = bytes([chance.choice(b"*$:\r\n0123456789-+ \"'ax\xff")])
        stream[at : at + chance.choice([0, 1, 1, 2])] = chance.choice([b"", new, new])
    return bytes(stream)


def replies(peer: socket.socket, stream: bytes, chance: random.Random) -> bytes:
    """What is answered to a stream that comes in pieces."""
    peer.settimeout(WAIT)
    with suppress(OSError):
        while stream:
            size = chance.choice([1, 3, 20, len(stream)])
            peer.sendall(stream[:size])
            stream = stream[size:]
        peer.shutdown(socket.SHUT_WR)
    return receive(peer, 1 << 20)


@EACH
def test_redis_answers_what_the_real_one_does(backend: str, tmp_path: Path) -> None:
    with real_redis(tmp_path) as real, example("redis_server", backend) as port:
        for seed in range(300):
            chance = random.Random(seed)
            stream = commands(chance)
            with socket.socket(socket.AF_UNIX) as peer:
                peer.connect(str(real))
                expected = replies(peer, stream, random.Random(0))
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as peer:
                got = replies(peer, stream, chance)
            assert got == expected, (seed, stream)


@EACH
def test_rude_peers_on_both_sides_of_the_proxy(backend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as target:
        target.settimeout(WAIT)
        at = f"tcp://127.0.0.1:{target.getsockname()[1]}"
        with example("tcp_proxy", backend, "--target", at) as port:
            for number in range(120):
                client = socket.create_connection(("127.0.0.1", port), timeout=WAIT)
                client.sendall(b"x" * 3_000)
                server, _ = target.accept()
                first, second = (client, server) if number % 2 else (server, client)
                with suppress(OSError):
                    second.sendall(b"y" * (number * 2_000))
                if number % 3:
                    reset(first)
                else:
                    first.close()
                with suppress(OSError):
                    second.sendall(b"z" * 100_000)
                    second.shutdown(socket.SHUT_WR)
                (reset if number % 5 else socket.socket.close)(second)
            with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
                server, _ = target.accept()
                with server:
                    client.sendall(b"still there")
                    assert receive(server, 11) == b"still there"


@EACH
def test_rude_peers_of_the_hash_server(backend: str) -> None:
    with example("hash_server", backend) as port:
        for _ in range(3):
            peers = []
            for number in range(40):  # more than the pool takes
                peers.append(socket.create_connection(("127.0.0.1", port), timeout=WAIT))
                peers[-1].sendall(b"2000000\n" + b"x" * 2_000_000 + b"5\nhello" * (number % 3))
            for peer in peers:
                reset(peer)
        for _ in range(20):  # the last of them when nothing else is being hashed
            assert len(ask(port, b"5\nhello")) == 65


@EACH
def test_a_second_signal_to_restart_starts_no_second_successor(backend: str) -> None:
    command = [sys.executable, "examples/restart.py", "tcp://127.0.0.1:0", "--backend", backend]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    pids = [first.pid]
    lines: list[str] = []
    try:
        assert first.stdout is not None
        lines.append(first.stdout.readline())
        os.kill(first.pid, signal.SIGHUP)
        until(lambda: children(first.pid))
        os.kill(first.pid, signal.SIGHUP)
        lines.append(first.stdout.readline())
        pids.append(int(lines[1].split()[0]))
        first.wait(WAIT)
        os.kill(pids[1], signal.SIGTERM)
        reader = threading.Thread(target=lambda: lines.extend(first.stdout or ()), daemon=True)
        reader.start()  # until no process holds the output any more
        reader.join(WAIT)
        assert not reader.is_alive()
        assert len(lines) == 2
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        first.communicate(timeout=WAIT)
