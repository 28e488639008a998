"""GET and SET for asyncio's loops, with hiredis as the parser."""

from __future__ import annotations

import asyncio
from typing import cast

import hiredis

MORE = object()  # what the parser gives when a command is not complete yet
store: dict[bytes, bytes] = {}


def execute(words: list[bytes]) -> bytes:
    """The reply to one command."""
    name = words[0].upper()
    if name == b"GET" and len(words) == 2:
        value = store.get(words[1])
        return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)
    if name == b"SET" and len(words) == 3:
        store[words[1]] = words[2]
        return b"+OK\r\n"
    return b"-ERR unknown command\r\n"


class Redis(asyncio.Protocol):
    """Replies to commands that came together are one write."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.parser = hiredis.Reader(notEnoughData=MORE)

    def data_received(self, data: bytes) -> None:
        self.parser.feed(data)
        replies = []
        while (words := self.parser.gets()) is not MORE:
            replies.append(execute(words))
        self.transport.write(b"".join(replies))
