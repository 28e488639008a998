"""An HTTP/1.1 server: `/` is a greeting, and `/bytes/N` is N bytes of data.

    python examples/http_server.py
    curl http://127.0.0.1:8080/

httptools takes requests apart, ringnet moves the bytes. What arrives together, such as pipelined
requests, is answered in order with one write. An answer depends on nothing but the request and the
second of its Date header, so it is made once a second and then only looked up.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

import httptools
import ringnet
from _cli import announce, arguments, serve

MAX_BODY = 64 * 1024 * 1024  # bytes that /bytes/N gives at most
MAX_OWED = 2 * MAX_BODY  # bytes of answers to requests that arrived together; more ends it
MAX_TARGET = 8192  # bytes of a request's target, "/bytes/5?x=1"
BLOCK = bytes(range(256)) * 256  # what bodies are made of, so that a large one costs nothing

Answer = tuple[list[bytes], int]  # its pieces, and how many bytes they are together


@lru_cache(maxsize=256)
def answer(method: bytes, target: bytes, keep_alive: bool, second: int) -> Answer:
    """The whole answer to a request."""
    status, body = route(method, target)
    size = sum(map(len, body))
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(second, usegmt=True)}",
        "Server: ringnet",
        "Content-Type: " + ("application/octet-stream" if body[0] is BLOCK else "text/plain"),
        f"Content-Length: {size}",
        "Connection: " + ("keep-alive" if keep_alive else "close"),
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET, HEAD")
    pieces = ["\r\n".join([*head, "\r\n"]).encode()]
    if method != b"HEAD":
        pieces += body
    return pieces, sum(map(len, pieces))


def route(method: bytes, target: bytes) -> tuple[HTTPStatus, list[bytes]]:
    """The status and the body, in pieces, for a method and a target."""
    if method not in (b"GET", b"HEAD"):
        return text(HTTPStatus.METHOD_NOT_ALLOWED)
    if len(target) > MAX_TARGET:
        return text(HTTPStatus.REQUEST_URI_TOO_LONG)
    try:
        path = httptools.parse_url(target).path or b""
    except httptools.HttpParserInvalidURLError:
        return text(HTTPStatus.BAD_REQUEST)
    if path == b"/":
        return HTTPStatus.OK, [b"Hello from ringnet!\n"]
    if path.startswith(b"/bytes/"):
        return data(path.removeprefix(b"/bytes/"))
    return text(HTTPStatus.NOT_FOUND)


def data(digits: bytes) -> tuple[HTTPStatus, list[bytes]]:
    """As many bytes as are asked for, by reference to the one block."""
    if not digits.isdigit():
        return text(HTTPStatus.BAD_REQUEST)
    if len(digits) > 20 or int(digits) > MAX_BODY:
        return text(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    blocks, rest = divmod(int(digits), len(BLOCK))
    return HTTPStatus.OK, [BLOCK] * blocks + [BLOCK[:rest]]


def text(status: HTTPStatus) -> tuple[HTTPStatus, list[bytes]]:
    """A body that says the status."""
    return status, [f"{status.value} {status.phrase}\n".encode()]


class Requests:
    """The requests of one connection. httptools calls its `on_` methods."""

    __slots__ = ("answers", "closing", "owed", "parser", "second", "target")

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""
        self.answers: list[bytes] = []
        self.owed = 0
        self.second = 0
        self.closing = False

    def feed(self, data: bytes) -> list[bytes]:
        """The answers to all requests that `data` completes, in pieces."""
        self.answers = []
        self.owed = 0
        self.second = int(time.time())
        while data and not self.closing:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]  # declined: the next request follows
            except httptools.HttpParserError:
                if not self.closing:  # after a request to close, nobody asked for the rest
                    self.end(b"GET", b"")
        return self.answers

    def on_url(self, part: bytes) -> None:
        if len(self.target) <= MAX_TARGET:
            self.target += part

    def on_message_complete(self) -> None:
        if self.closing:
            return
        if self.owed > MAX_OWED:
            self.closing = True
            return
        method, target, self.target = self.parser.get_method(), self.target, b""
        if len(target) > MAX_TARGET or not self.parser.should_keep_alive():
            self.end(method, target)
        else:
            self.add(answer(method, target, True, self.second))

    def end(self, method: bytes, target: bytes) -> None:
        """Answer for the last time. An empty target is a bad request."""
        self.closing = True
        self.add(answer(method, target, False, self.second))

    def add(self, reply: Answer) -> None:
        self.answers += reply[0]
        self.owed += reply[1]


class HttpServer(ringnet.EventHandler):
    """Gives each connection a parser and writes what comes of it."""

    def on_boot(self, engine: ringnet.Engine) -> None:
        announce(engine)

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.context = Requests()

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        requests: Requests = conn.context
        answers = requests.feed(conn.next())
        try:
            conn.write(b"".join(answers))
        except ringnet.BufferLimitExceeded:  # it asks and asks, and does not read
            return ringnet.Action.CLOSE
        return ringnet.Action.CLOSE if requests.closing else None


if __name__ == "__main__":
    serve(HttpServer(), arguments(__doc__, "tcp://127.0.0.1:8080"))
