"""A Redis server: strings, lists, sets, hashes, sorted sets and streams in memory.

    python examples/redis_server.py
    redis-cli -p 6380 SET greeting hello
    redis-benchmark -p 6380 -q

`redis_requests.py` parses commands, `redis_store.py` executes them, ringnet moves the bytes. The
replies to all commands that arrived together are one write. One lock guards the store, so that
several reactors can share it; it is taken once for all commands that arrived together.
"""

from __future__ import annotations

from threading import Lock

import ringnet
from _cli import announce, arguments, serve
from redis_replies import error
from redis_requests import ProtocolError, Requests
from redis_store import RESP2, Hello, Quit, Store, execute

MAX_REPLIES = 1024 * 1024  # bytes written at once; the remaining commands have to wait


class Session:
    """The requests of a connection, and the protocol version of its replies."""

    __slots__ = ("requests", "table")

    def __init__(self) -> None:
        self.requests = Requests()
        self.table = RESP2  # until HELLO says otherwise

    def answer(self, data: bytes, store: Store, replies: list[bytes]) -> bool:
        """Execute the complete commands; True if some are left because the replies are long.

        Raises ProtocolError and Quit, with the earlier replies in `replies`.
        """
        requests = self.requests
        alike = requests.alike(data)
        size = 0
        for words in requests.commands(data) if alike is None else alike:
            try:
                reply = execute(self.table, store, words)
            except Hello as hello:
                self.table = hello.table
                reply = hello.reply
            replies.append(reply)
            size += len(reply)
            if size > MAX_REPLIES:
                if alike is not None:
                    requests.only_used(len(replies), data)
                return True
        return False


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
        requests = conn.context.requests
        if requests.need > 1 and conn.inbound_buffered < requests.need:
            return None  # the rest of a long argument is still to come
        replies: list[bytes] = []
        action: ringnet.Action | None = None
        self.lock.acquire()  # takes half the time of `with`
        try:
            if conn.context.answer(conn.peek(), self.store, replies):
                action = ringnet.Action.AGAIN
        except ProtocolError as problem:
            replies.append(error(b"ERR Protocol error: " + problem.text))
            action = ringnet.Action.CLOSE
        except Quit as quit_:
            replies.append(quit_.reply)
            action = ringnet.Action.CLOSE
        finally:
            self.lock.release()
        conn.discard(requests.used)
        conn.write(b"".join(replies))
        if not conn.is_writable and action is not ringnet.Action.CLOSE:
            conn.pause_reading()  # it sends commands faster than it reads replies
            return None
        return action

    def on_writable(self, conn: ringnet.Connection) -> None:
        conn.resume_reading()


if __name__ == "__main__":
    serve(RedisServer(), arguments(__doc__, "tcp://127.0.0.1:6380"))
