"""An HTTP/1.1 server: `/` is a greeting, and `/bytes/N` is N bytes of data.

    python examples/http_server.py
    curl http://127.0.0.1:8080/

httptools parses requests, ringnet moves the bytes. Requests that arrive together (pipelining) are
answered in order with one write. An answer depends only on the request and on its Date header, so
it is made once a second and then looked up.
"""

from __future__ import annotations

import re
import time
from email.utils import formatdate
from http import HTTPStatus

import httptools
import ringnet
from _cli import announce, arguments, serve

MAX_BODY = 64 * 1024 * 1024  # bytes; the largest N of /bytes/N
MAX_OWED = MAX_BODY  # bytes; beyond, further requests that came together are not answered
MAX_TARGET = 8192  # bytes of a request's target, such as "/bytes/5?x=1"
MAX_HEAD = 32 * 1024  # bytes of a request's header fields
IDLE = 75.0  # seconds that a connection may be idle; nginx's default keepalive_timeout
BLOCK = bytes(range(256)) * 256  # /bytes/N consists of references to it

MAX_KEPT = 256  # answers in the cache

HOST = re.compile(rb"[\w.~!$&'()*+,;=%\[\]:-]+")  # RFC 9110, 7.2

Request = tuple[bytes, bytes, bool]  # the method, the target, and whether the connection stays
Answer = tuple[list[bytes], int]  # its pieces, and their total size
Page = tuple[HTTPStatus, str, list[bytes]]  # the status, the type, and the body in pieces


def refused(status: HTTPStatus) -> Request:
    """Stands for an invalid request: no method, and the status of the answer as the target."""
    return b"", b"%d" % status, False


def route(method: bytes, target: bytes) -> Page:
    """The page for a method and a target."""
    if not method:
        return message(HTTPStatus(int(target)))
    if method not in (b"GET", b"HEAD"):
        return message(HTTPStatus.METHOD_NOT_ALLOWED)
    if len(target) > MAX_TARGET:
        return message(HTTPStatus.REQUEST_URI_TOO_LONG)
    if not target.startswith((b"/", b"http://", b"https://")):
        return message(HTTPStatus.BAD_REQUEST)
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
    """A page with the given number of bytes."""
    if not digits.isdigit():
        return message(HTTPStatus.BAD_REQUEST)
    if len(digits) > 20 or int(digits) > MAX_BODY:
        return message(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    blocks, rest = divmod(int(digits), len(BLOCK))
    return HTTPStatus.OK, "application/octet-stream", [BLOCK] * blocks + [BLOCK[:rest]]


def message(status: HTTPStatus) -> Page:
    """A page that consists of its status."""
    return status, "text/plain", [f"{status.value} {status.phrase}\n".encode()]


class Answers:
    """A cache of whole answers, all with the same Date."""

    def __init__(self) -> None:
        self.date = formatdate(time.time(), usegmt=True)
        self.kept: dict[Request, Answer] = {}

    def to(self, requests: list[Request]) -> tuple[bytes, bool]:
        """The answers in order, and whether the connection ends with the last of them."""
        kept = self.kept
        pieces: list[bytes] = []
        owed = 0
        for request in requests:
            more, size = kept.get(request) or self.keep(request)
            pieces += more
            owed += size
            if not request[2] or (owed > MAX_OWED and request is not requests[-1]):
                return b"".join(pieces), True
        return b"".join(pieces), False

    def keep(self, request: Request) -> Answer:
        """Make an answer and cache it."""
        pieces = self.make(*request)
        size = sum(map(len, pieces))
        if size < len(BLOCK):
            pieces = [b"".join(pieces)]
        if len(self.kept) >= MAX_KEPT:
            self.kept.clear()
        self.kept[request] = pieces, size
        return pieces, size

    def make(self, method: bytes, target: bytes, keep_alive: bool) -> list[bytes]:
        """The head, and the body in pieces."""
        status, kind, body = route(method, target)
        head = [
            f"HTTP/1.1 {status.value} {status.phrase}",
            f"Date: {self.date}",
            "Server: ringnet",
            f"Content-Type: {kind}",
            f"Content-Length: {sum(map(len, body))}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        ]
        if status is HTTPStatus.METHOD_NOT_ALLOWED:
            head.append("Allow: GET, HEAD")
        first = "\r\n".join([*head, "\r\n"]).encode()
        return [first] if method == b"HEAD" else [first, *body]


class Requests:
    """The requests of one connection. httptools calls its `on_` methods."""

    __slots__ = ("complete", "hosts", "in_head", "parser", "problem", "size", "target", "waiting")

    def __init__(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.complete: list[Request] = []
        self.problem = HTTPStatus.BAD_REQUEST  # unless something else is wrong
        self.on_message_begin()

    def take(self, data: bytes) -> list[Request]:
        """The requests that `data` completes; an invalid request is the last one."""
        self.complete = []
        self.waiting += len(data)
        while data:
            try:
                self.parser.feed_data(data)
                break
            except httptools.HttpParserUpgrade as upgrade:
                data = data[upgrade.args[0] :]  # declined: the next request follows
            except httptools.HttpParserError:
                self.complete.append(refused(self.problem))
                return self.complete
        if self.in_head and self.waiting > MAX_TARGET + MAX_HEAD:
            # A line without an end: the parser would buffer all of it.
            self.complete.append(refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE))
        return self.complete

    def refuse(self, status: HTTPStatus) -> None:
        """Abort the parser, from one of its callbacks."""
        self.problem = status
        raise ValueError(status.phrase)

    def on_message_begin(self) -> None:
        self.target = b""
        self.hosts = self.size = 0
        self.in_head = True
        self.waiting = 0  # bytes since, without those that came with its first

    def on_url(self, part: bytes) -> None:
        if not self.target:
            self.target = part
        elif len(self.target) <= MAX_TARGET:
            self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.size += len(name) + len(value) + 4
        if self.size > MAX_HEAD:
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if len(name) == 4 and name.lower() == b"host":
            self.hosts += 1
            if self.hosts > 1 or not HOST.fullmatch(value):
                self.refuse(HTTPStatus.BAD_REQUEST)

    def on_headers_complete(self) -> None:
        self.in_head = False
        version = self.parser.get_http_version()
        if version[0] > "1":
            self.refuse(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        if version < "1.0" or (version == "1.1" and not self.hosts):
            self.refuse(HTTPStatus.BAD_REQUEST)

    def on_message_complete(self) -> None:
        parser = self.parser
        self.complete.append((parser.get_method(), self.target, parser.should_keep_alive()))


class HttpServer(ringnet.EventHandler):
    """Gives each connection a parser, and answers its requests."""

    def __init__(self) -> None:
        self.answers = Answers()

    def on_boot(self, engine: ringnet.Engine) -> None:
        announce(engine)

    def on_tick(self) -> float:
        self.answers = Answers()
        return 1 - time.time() % 1  # seconds until the Date changes

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.context = Requests()

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        requests = conn.context.take(conn.next())
        if not requests:
            return None
        answers, is_last = self.answers.to(requests)
        try:
            conn.write(answers)
        except ringnet.BufferLimitExceeded:  # it keeps asking without reading
            return ringnet.Action.CLOSE
        return ringnet.Action.CLOSE if is_last else None


if __name__ == "__main__":
    serve(HttpServer(), arguments(__doc__, "tcp://127.0.0.1:8080"), idle_timeout=IDLE)
