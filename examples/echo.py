"""An echo server: every byte comes back.

    python examples/echo.py
    echo hello | nc -N 127.0.0.1 9000

This is all that a server needs: a handler with an `on_traffic`, and `ringnet.run`. The engine has
read the bytes when it calls `on_traffic`, and sends what was written after the handler returns.
"""

from __future__ import annotations

import ringnet
from _cli import announce, arguments, serve


class Echo(ringnet.EventHandler):
    """Answers each connection with its own bytes, and each datagram with its copy."""

    def on_boot(self, engine: ringnet.Engine) -> None:
        announce(engine)

    def on_traffic(self, conn: ringnet.Conn) -> None:
        conn.write(conn.next())  # next() consumes and returns everything received


if __name__ == "__main__":
    # A peer that sends but never reads is disconnected once max_outbound bytes wait for it.
    serve(Echo(), arguments(__doc__, "tcp://127.0.0.1:9000"), outbound_full="close")
