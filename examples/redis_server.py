"""A Redis server: strings, lists, sets, hashes and sorted sets in memory.

    python examples/redis_server.py
    redis-cli -p 6380 SET greeting hello
    redis-benchmark -p 6380 -q

hiredis takes commands apart, `redis_store.py` answers them, ringnet moves the bytes. The replies to
all commands that arrived together are one write. One lock guards the store, so that several
reactors may share it; it is taken once for all commands that arrived together.
"""

from __future__ import annotations

from threading import Lock

import hiredis
import ringnet
from _cli import announce, arguments, serve
from redis_store import Store, error, execute

MORE = object()  # what the parser gives when a command is not complete yet
MAX_INLINE = 64 * 1024  # bytes of a command typed by hand


class Session:
    """A connection's parser. Its first byte tells whether commands come as arrays or by hand."""

    __slots__ = ("by_hand", "line", "parser")

    def __init__(self) -> None:
        self.parser = hiredis.Reader(notEnoughData=MORE)
        self.by_hand: bool | None = None
        self.line = b""  # typed by hand, without its end yet

    def feed(self, data: bytes) -> list[list[bytes]]:
        """The commands that are complete now. Raises hiredis.ProtocolError."""
        if self.by_hand is None:
            self.by_hand = data[:1] != b"*"
        if self.by_hand:
            return self.feed_by_hand(self.line + data)
        self.parser.feed(data)
        commands = []
        while (words := self.parser.gets()) is not MORE:
            if not isinstance(words, list) or not all(type(word) is bytes for word in words):
                raise hiredis.ProtocolError("a command is an array of bulk strings")
            commands.append(words)
        return commands

    def feed_by_hand(self, data: bytes) -> list[list[bytes]]:
        """Commands as lines of words, as people and redis-benchmark's PING_INLINE write them."""
        *lines, self.line = data.split(b"\n")
        if len(self.line) > MAX_INLINE:
            raise hiredis.ProtocolError("too big inline request")
        return [line.split() for line in lines]


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
        try:
            commands = conn.context.feed(conn.next())
        except hiredis.ProtocolError as problem:
            conn.write(error(f"ERR Protocol error: {problem}"))
            return ringnet.Action.CLOSE
        replies = []
        with self.lock:
            for words in filter(None, commands):
                replies.append(execute(self.store, words))
                if words[0].upper() == b"QUIT":
                    conn.write(b"".join(replies))
                    return ringnet.Action.CLOSE
        conn.write(b"".join(replies))
        return None


if __name__ == "__main__":
    serve(RedisServer(), arguments(__doc__, "tcp://127.0.0.1:6380"))
