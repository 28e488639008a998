"""A TCP proxy: every connection is joined to one of its own to a target.

    python examples/tcp_proxy.py tcp://127.0.0.1:8081 --target tcp://127.0.0.1:8080

The client that dials shares the server's reactors, and dials on the reactor that has the newcomer:
both ends then belong to one thread, and bytes go from one to the other without a lock.
"""

from __future__ import annotations

from concurrent.futures import Future

import ringnet
from _cli import announce, parser, serve


class End(ringnet.EventHandler):
    """What both ends have in common; `context` is the other end, or what waits for it."""

    def on_traffic(self, conn: ringnet.Connection) -> None:
        if isinstance(conn.context, ringnet.Connection):
            pass_on(conn, conn.context)

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
        other, conn.context = conn.context, None
        if isinstance(other, ringnet.Connection):
            other.close()


class Proxy(End):
    """The end of those who come to us."""

    def __init__(self, target: str) -> None:
        self.target = target

    def on_boot(self, engine: ringnet.Engine) -> None:
        self.client = ringnet.Client(End(), engine=engine)
        announce(engine)

    def on_open(self, conn: ringnet.Connection) -> None:
        dialed = self.client.register(self.target, context=conn, loop=conn.loop)
        dialed.add_done_callback(lambda done: self.connected(conn, done))

    def connected(self, conn: ringnet.Connection, done: Future[ringnet.Connection]) -> None:
        if done.exception() is not None:
            conn.close()
            return
        target = done.result()
        if conn.fileno() == -1:  # it has gone meanwhile
            target.close()
            return
        conn.context = target
        if conn.inbound_buffered:
            pass_on(conn, target)


def pass_on(conn: ringnet.Connection, other: ringnet.Connection) -> None:
    """Write what has arrived to the other end, unless that end is closing already."""
    try:
        other.write(conn.next())
    except ringnet.ConnectionClosed:
        conn.close()


if __name__ == "__main__":
    command = parser(__doc__, "tcp://127.0.0.1:8081")
    command.add_argument("--target", default="tcp://127.0.0.1:8080", metavar="ADDRESS")
    given = command.parse_args()
    serve(Proxy(given.target), given)
