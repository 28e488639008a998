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
MAX_OWED = MAX_BODY  # once requests that came together have earned more, no more are answered
MAX_TARGET = 8192  # bytes of a request's target, such as "/bytes/5?x=1"
BLOCK = bytes(range(256)) * 256  # what /bytes/N is made of, by reference

Page = tuple[HTTPStatus, str, list[bytes]]  # the status, the type, and the body in pieces


def route(method: bytes, target: bytes) -> Page:
    """What is there for a method and a target."""
    if method not in (b"GET", b"HEAD"):
        return message(HTTPStatus.METHOD_NOT_ALLOWED)
    if len(target) > MAX_TARGET:
        return message(HTTPStatus.REQUEST_URI_TOO_LONG)
    try:
        path = httptools.parse_url(target).path or b"/"
    except httptools.HttpParserInvalidURLError:
        return message(HTTPStatus.BAD_REQUEST)
    if path == b"/":
        return HTTPStatus.OK, "text/plain", [b"Hello from ringnet!\n"]
    if path.startswith(b"/bytes/"):
        return data(path.removeprefix(b"/bytes/"))
    return message(HTTPStatus.NOT_FOUND)


def data(digits: bytes) -> Page:
    """As many bytes as the digits say."""
    if not digits.isdigit():
        return message(HTTPStatus.BAD_REQUEST)
    if len(digits) > 20 or int(digits) > MAX_BODY:
        return message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    blocks, rest = divmod(int(digits), len(BLOCK))
    return HTTPStatus.OK, "application/octet-stream", [BLOCK] * blocks + [BLOCK[:rest]]


def message(status: HTTPStatus) -> Page:
    """A page that says just its status."""
    return status, "text/plain", [f"{status.value} {status.phrase}\n".encode()]


@lru_cache(maxsize=256)
def answer(method: bytes, target: bytes, keep_alive: bool, second: int) -> tuple[list[bytes], int]:
    """The whole answer to a request: its pieces, and how many bytes they are together."""
    status, kind, body = route(method, target)
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(second, usegmt=True)}",
        "Server: ringnet",
        f"Content-Type: {kind}",
        f"Content-Length: {sum(map(len, body))}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET, HEAD")
    pieces = ["\r\n".join([*head, "\r\n"]).encode()]
    if method != b"HEAD":
        pieces += body
    return pieces, sum(map(len, pieces))


class Requests:
    """The requests of one connection. httptools calls its `on_` methods."""

    __slots__ = ("closing", "owed", "parser", "pieces", "second", "target")

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""
        self.pieces: list[bytes] = []
        self.owed = 0
        self.second = 0
        self.closing = False

    def feed(self, data: bytes) -> bytes:
        """The answers to all requests that `data` completes."""
        self.pieces = []
        self.owed = 0
        self.second = int(time.time())
        while data and not self.closing:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]  # declined: the next request follows
            except httptools.HttpParserError:
                if not self.closing:  # after a request to close it is no error but ignored
                    self.answer(b"GET", b"", last=True)  # no target: a bad request
        return b"".join(self.pieces)

    def on_url(self, part: bytes) -> None:
        if len(self.target) <= MAX_TARGET:
            self.target += part

    def on_message_complete(self) -> None:
        target, self.target = self.target, b""
        if self.owed > MAX_OWED:
            self.closing = True
        if not self.closing:
            self.answer(self.parser.get_method(), target, not self.parser.should_keep_alive())

    def answer(self, method: bytes, target: bytes, last: bool) -> None:
        pieces, size = answer(method, target, not last, self.second)
        self.pieces += pieces
        self.owed += size
        self.closing = last


class HttpServer(ringnet.EventHandler):
    """Gives each connection a parser, and writes what comes of it."""

    def on_boot(self, engine: ringnet.Engine) -> None:
        announce(engine)

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.context = Requests()

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        requests: Requests = conn.context
        answers = requests.feed(conn.next())
        try:
            if answers:
                conn.write(answers)
        except ringnet.BufferLimitExceeded:  # it asks on and on, and does not read
            return ringnet.Action.CLOSE
        return ringnet.Action.CLOSE if requests.closing else None


if __name__ == "__main__":
    serve(HttpServer(), arguments(__doc__, "tcp://127.0.0.1:8080"))
