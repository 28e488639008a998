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
    """What both ends have in common; `context` is the other end."""

    def on_traffic(self, conn: ringnet.Connection) -> None:
        conn.context.write(conn.next())
        if not conn.context.is_writable:
            conn.pause_reading()  # the other end's peer is slower than this one's

    def on_writable(self, conn: ringnet.Connection) -> None:
        conn.context.resume_reading()

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action | None:
        if conn.context is None:
            return ringnet.Action.CLOSE
        conn.context.shutdown_write()  # the other way stays open
        return None

    def on_close(self, conn: ringnet.Connection, error: Exception | None) -> None:
        other, conn.context = conn.context, None
        if other is not None:
            other.context = None
            other.close()


class Proxy(End):
    """The end of those who come to us."""

    def __init__(self, target: str) -> None:
        self.target = target

    def on_boot(self, engine: ringnet.Engine) -> None:
        self.client = ringnet.Client(End(), engine=engine)
        announce(engine)

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.pause_reading()  # until there is somebody to pass it on to
        dialed = self.client.register(self.target, context=conn, loop=conn.loop)
        dialed.add_done_callback(lambda done: self.connected(conn, done))

    def connected(self, conn: ringnet.Connection, done: Future[ringnet.Connection]) -> None:
        if done.exception() is not None:
            conn.close()
        elif conn.fileno() == -1:  # it has gone meanwhile
            done.result().context = None
            done.result().close()
        else:
            conn.context = done.result()
            conn.resume_reading()


if __name__ == "__main__":
    command = parser(__doc__, "tcp://127.0.0.1:8081")
    command.add_argument("--target", default="tcp://127.0.0.1:8080", metavar="ADDRESS")
    given = command.parse_args()
    serve(Proxy(given.target), given)
