"""Thousands of client connections in one process: each sends a line to an echo server.

python examples/echo.py &
python examples/many_clients.py tcp://127.0.0.1:9000 --connections 10000
"""

from __future__ import annotations

import argparse
import resource
from threading import Event
from time import monotonic

import ringnet
from _cli import plain_words, prompt_signals

AT_ONCE = 1000  # connections that are dialed at the same time


class Crowd(ringnet.EventHandler):
    """Counts the connections whose line came back. There is one reactor, so it needs no lock."""

    def __init__(self, connections: int) -> None:
        self.left = connections
        self.wrong = 0
        self.done = Event()

    def on_open(self, conn: ringnet.Connection) -> bytes:
        conn.context = b"I am %d\n" % conn.fileno()
        return bytes(conn.context)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        if conn.inbound_buffered < len(conn.context):
            return
        self.wrong += conn.next() != conn.context
        self.left -= 1
        if not self.left:
            self.done.set()


def main() -> None:
    """Dial all connections, keep them open until each is answered, and print the result."""
    command = argparse.ArgumentParser(description="Many connections to an echo server.")
    command.add_argument("address", nargs="?", default="tcp://127.0.0.1:9000")
    command.add_argument("--connections", type=int, default=10_000)
    command.add_argument("--backend", default="auto")
    given = command.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    crowd = Crowd(given.connections)
    begun = monotonic()
    with ringnet.Client(crowd, backend=given.backend) as client:
        dialed = []
        for number in range(given.connections):
            dialed.append(client.register(given.address))
            if number >= AT_ONCE:
                dialed[number - AT_ONCE].result()
        for future in dialed:
            future.result()
        crowd.done.wait(60)
        took = monotonic() - begun
        open_now = client.engine.count_connections()
        print(f"{open_now} connections open, {crowd.left} unanswered, {crowd.wrong} wrong")
        print(f"{took:.1f} s with {client.engine.backend}")
    raise SystemExit(crowd.left or crowd.wrong)


if __name__ == "__main__":
    with plain_words(), prompt_signals():
        main()
