"""A Redis server: strings, lists, sets, hashes, sorted sets and streams in memory.

    python examples/redis_server.py
    redis-cli -p 6380 SET greeting hello
    redis-benchmark -p 6380 -q

hiredis takes commands apart, `redis_store.py` answers them, ringnet moves the bytes. The replies to
all commands that arrived together are one write. One lock guards the store, so that several
reactors may share it; it is taken once for all commands that arrived together.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Lock
from typing import Any

import hiredis
import ringnet
from _cli import announce, arguments, serve
from redis_store import OK, RESP2, Hello, NotACommand, Quit, Store, error, execute

MORE = object()  # what the parser gives when a command is not complete yet
MAX_INLINE = 64 * 1024  # bytes of a command typed by hand


class Session:
    """A connection's parser. Its first byte tells whether commands come as arrays or by hand."""

    __slots__ = ("by_hand", "line", "parser", "table")

    def __init__(self) -> None:
        self.parser = hiredis.Reader(notEnoughData=MORE)
        self.by_hand: bool | None = None
        self.line = b""  # typed by hand, without its end yet
        self.table = RESP2  # until HELLO says otherwise

    def answer(self, data: bytes, store: Store, replies: list[bytes]) -> None:
        """Execute the commands that are complete now.

        Raises hiredis.ProtocolError, NotACommand and Quit, with the replies before that in
        `replies`.
        """
        if self.by_hand is None:
            self.by_hand = data[:1] != b"*"
        commands = self.typed(data) if self.by_hand else self.arrays(data)
        while True:
            try:
                for words in commands:
                    replies.append(execute(self.table, store, words))  # noqa: PERF401 (slower for one)
                return
            except Hello as hello:
                self.table = hello.table
                replies.append(hello.reply)

    def arrays(self, data: bytes) -> Iterator[Any]:
        self.parser.feed(data)
        return iter(self.parser.gets, MORE)

    def typed(self, data: bytes) -> Iterator[Any]:
        """Commands as lines of words, as people and redis-benchmark's PING_INLINE write them."""
        *lines, self.line = (self.line + data).split(b"\n")
        yield from (line.split() for line in lines)
        if len(self.line) > MAX_INLINE:
            raise hiredis.ProtocolError("too big inline request")


class RedisServer(ringnet.EventHandler):
    """Answers commands from one store."""

    def __init__(self) -> None:
        self.store: Store = {}
        self.lock = Lock()

    def on_boot(self, engine: ringnet.Engine) -> None:
        announce(engine)

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.context = Session()

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        replies: list[bytes] = []
        action: ringnet.Action | None = ringnet.Action.CLOSE
        self.lock.acquire()  # half the time of `with`
        try:
            conn.context.answer(conn.next(), self.store, replies)
            action = None
        except (hiredis.ProtocolError, NotACommand) as problem:
            replies.append(error(f"ERR Protocol error: {problem}"))
        except Quit:
            replies.append(OK)
        finally:
            self.lock.release()
        conn.write(b"".join(replies))
        return action


if __name__ == "__main__":
    serve(RedisServer(), arguments(__doc__, "tcp://127.0.0.1:6380"))
