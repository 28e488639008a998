"""The HTTP example with curl and wrk, and with what no client would send."""

from __future__ import annotations

import re
import socket

import pytest
from engine_tools import IN_CHILDREN, WAIT, receive
from real_clients import example, run

EACH = pytest.mark.parametrize("backend", IN_CHILDREN)


@EACH
def test_curl(backend: str) -> None:
    with example("http_server", backend) as port:
        at = f"http://127.0.0.1:{port}"
        twice = run("curl", "-sSv", "--stderr", "-", f"{at}/", f"{at}/bytes/5")
        assert "Hello from ringnet!" in twice
        assert re.search(r"Re-using existing (http: )?connection", twice)
        assert run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"{at}/no") == "404"
        assert "Content-Length: 20" in run("curl", "-sSI", f"{at}/")


@EACH
def test_a_large_body(backend: str) -> None:
    with example("http_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.sendall(b"GET /bytes/5000000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            got = receive(client, 10_000_000)
    head, _, body = got.partition(b"\r\n\r\n")
    assert b"Content-Length: 5000000" in head
    assert body == (bytes(range(256)) * 20_000)[:5_000_000]


@EACH
def test_pipelined_and_in_single_bytes(backend: str) -> None:
    request = b"GET /bytes/3 HTTP/1.1\r\nHost: x\r\n\r\n"
    with example("http_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.sendall(
                request * 500 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            )
            got = receive(client, 1 << 24)
            assert got.count(b"HTTP/1.1 200 OK") == 501
            assert got.count(b"\r\n\r\n\x00\x01\x02") == 501
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in request:
                client.send(bytes([byte]))
            assert receive(client, 15) == b"HTTP/1.1 200 OK"


@EACH
def test_requests_that_come_together(backend: str) -> None:
    request = b"GET /bytes/3 HTTP/1.1\r\nHost: x\r\n\r\n"
    upgrade = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nGET "
    last = b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with example("http_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.sendall(request + upgrade * 2 + post + request + last + request + b"\0garbage")
            got = receive(client, 1 << 20)
    assert re.findall(rb"HTTP/1.1 (\d+)", got) == [
        b"200", b"200", b"200", b"405", b"200", b"200",
    ]  # fmt: skip
    assert got.endswith(b"Connection: close\r\n\r\n")


@EACH
def test_garbage_behind_requests(backend: str) -> None:
    request = b"GET /bytes/3 HTTP/1.1\r\nHost: x\r\n\r\n"
    with example("http_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.sendall(request * 2 + b"\0garbage\r\n\r\n" + request)
            got = receive(client, 1 << 20)
    assert re.findall(rb"HTTP/1.1 (\d+)", got) == [b"200", b"200", b"400"]


@EACH
def test_no_more_answers_than_may_be_owed(backend: str) -> None:
    request = b"GET /bytes/40000000 HTTP/1.1\r\nHost: x\r\n\r\n"
    with example("http_server", backend, "--option", "max_outbound=200000000") as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.sendall(request * 3)
            got = receive(client, 1 << 28)
    assert got.count(b"HTTP/1.1 200 OK") == 2
    assert len(got) > 80_000_000


@EACH
def test_garbage_is_refused(backend: str) -> None:
    with example("http_server", backend) as port:
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT) as client:
            client.sendall(b"\x00\xff garbage\r\n\r\n" * 100)
            got = receive(client, 1 << 20)
            assert got.startswith(b"HTTP/1.1 400 Bad Request")
        assert "Hello" in run("curl", "-sS", f"http://127.0.0.1:{port}/")


@EACH
def test_wrk(backend: str) -> None:
    with example("http_server", backend, "--reactors", "2") as port:
        said = run("wrk", "-t1", "-c50", "-d1s", f"http://127.0.0.1:{port}/")
    assert re.search(r"[1-9]\d* requests in", said)
    assert "Socket errors" not in said
    assert "Non-2xx" not in said
