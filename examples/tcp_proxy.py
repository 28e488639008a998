"""A TCP proxy: every incoming connection is joined to a new connection to the target.

    python examples/tcp_proxy.py tcp://127.0.0.1:8081 --target tcp://127.0.0.1:8080

The client that dials shares the server's reactors, and dials on the reactor of the incoming
connection: both ends then belong to one thread, and bytes are passed on without a lock.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress

import ringnet
from _cli import address, announce, parser, serve


class End(ringnet.EventHandler):
    """What both ends have in common; `context` is the other end.

    Either end may already be closing when something happens at the other one: a closing end raises
    ConnectionClosed, and its `on_close` closes the other one.
    """

    def on_traffic(self, conn: ringnet.Connection) -> None:
        with suppress(ringnet.ConnectionClosed):
            conn.context.write(conn.next())
            if not conn.context.is_writable:
                conn.pause_reading()  # the other end's peer is slower than this one's

    def on_writable(self, conn: ringnet.Connection) -> None:
        with suppress(ringnet.ConnectionClosed):
            if conn.context is not None:
                conn.context.resume_reading()

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action | None:
        if conn.context is None:
            return ringnet.Action.CLOSE
        with suppress(ringnet.ConnectionClosed):
            conn.context.shutdown_write()  # the other direction stays open
        return None

    def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
        other, conn.context = conn.context, None
        if other is not None:
            other.context = None
            other.close()


class Proxy(End):
    """The end of an incoming connection."""

    def __init__(self, target: str) -> None:
        self.target = target

    def on_boot(self, engine: ringnet.Engine) -> None:
        self.client = ringnet.Client(End(), engine=engine)
        announce(engine)

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.pause_reading()  # until the target is connected
        dialed = self.client.register(self.target, context=conn, loop=conn.loop)
        dialed.add_done_callback(lambda done: self.connected(conn, done))

    def connected(self, conn: ringnet.Connection, done: Future[ringnet.Connection]) -> None:
        """On the same thread: the target was dialed on this connection's loop."""
        if done.exception() is not None:
            conn.close()
            return
        other = done.result()
        try:
            conn.context = other
            conn.resume_reading()
        except ringnet.ConnectionClosed:  # it was closed meanwhile
            conn.context = other.context = None
            other.close()


if __name__ == "__main__":
    command = parser(__doc__, "tcp://127.0.0.1:8081")
    command.add_argument(
        "--target", type=address, default="tcp://127.0.0.1:8080", metavar="ADDRESS"
    )
    given = command.parse_args()
    serve(Proxy(given.target), given)
