"""HTTP/1.1 for asyncio's loops, with httptools: what examples/http_server.py answers to GET /."""

from __future__ import annotations

import asyncio
import time
from email.utils import formatdate
from functools import lru_cache
from typing import cast

import httptools
from roles import GREETING


@lru_cache(maxsize=4)
def answer(path: bytes, second: int) -> bytes:
    """The whole answer to a GET, made once a second."""
    found = path == b"/"
    body = GREETING if found else b"404 Not Found\n"
    head = [
        "HTTP/1.1 200 OK" if found else "HTTP/1.1 404 Not Found",
        f"Date: {formatdate(second, usegmt=True)}",
        "Server: uvloop!",
        "Content-Type: text/plain",
        f"Content-Length: {len(body)}",
        "Connection: keep-alive",
    ]
    return "\r\n".join([*head, "\r\n"]).encode() + body


class Http(asyncio.Protocol):
    """One parser a connection; requests that came together are answered with one write."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = httptools.HttpRequestParser(self)
        self.target = b""
        self.answers: list[bytes] = []
        self.closing = False

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.closing = True
        self.transport.write(b"".join(self.answers))
        self.answers.clear()
        if self.closing:
            self.transport.close()

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_message_complete(self) -> None:
        path = httptools.parse_url(self.target).path
        self.target = b""
        self.answers.append(answer(path, int(time.time())))
        self.closing = not self.parser.should_keep_alive()
