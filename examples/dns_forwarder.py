"""A DNS forwarder: UDP in, UDP out to an upstream resolver, and the answers back.

    python examples/dns_forwarder.py udp://127.0.0.1:5353 --upstream udp://9.9.9.9:53
    dig @127.0.0.1 -p 5353 example.org

The upstream is dialed with a client that shares the server's reactor, so everything runs on one
thread and needs no lock. Queries get new numbers, since several clients may choose the same one.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import suppress

import ringnet
from _cli import address, announce, parser, serve

PATIENCE = 5.0  # seconds to wait for an answer from the upstream
HEADER = 12  # bytes; RFC 1035, 4.1.1
MOST = 10_000  # queries that may wait for an answer; others are dropped


class Upstream(ringnet.EventHandler):
    """Returns answers to the clients that asked."""

    def __init__(self) -> None:
        self.asked: dict[int, tuple[ringnet.Datagram, bytes]] = {}
        self._last = 0

    def ask(self, upstream: ringnet.Connection, asker: ringnet.Datagram, query: bytes) -> None:
        if len(self.asked) >= MOST:
            return
        self._last = (self._last + 1) % 65_536
        number = self._last
        try:
            upstream.write(number.to_bytes(2, "big") + query[2:])
        except (ringnet.ConnectionClosed, ringnet.BufferLimitExceeded):
            return  # it is being dialed again, or is slow: the client will retry
        self.asked[number] = asker, query[:2]
        upstream.loop.schedule(PATIENCE, lambda: self.forget(number, asker))

    def forget(self, number: int, asker: ringnet.Datagram) -> None:
        if self.asked.get(number, (None,))[0] is asker:
            del self.asked[number]

    def on_traffic(self, conn: ringnet.Connection) -> None:
        answer = conn.next()
        if len(answer) < HEADER:
            return  # not a DNS message
        asker, number = self.asked.pop(int.from_bytes(answer[:2], "big"), (None, b""))
        if asker is not None:
            with suppress(ringnet.ConnectionClosed, ringnet.BufferLimitExceeded):
                asker.write(number + answer[2:])


class Forwarder(ringnet.EventHandler):
    """Receives queries."""

    def __init__(self, upstream: str) -> None:
        self.address = upstream
        self.answers = Upstream()
        self.upstream: ringnet.Connection | None = None
        self.waiting: list[tuple[ringnet.Datagram, bytes]] = []  # while it is being dialed

    def on_boot(self, engine: ringnet.Engine) -> None:
        self.client = ringnet.Client(self.answers, engine=engine)
        announce(engine)

    def on_traffic(self, conn: ringnet.Datagram) -> None:
        query = conn.next()
        if len(query) < HEADER:
            return  # not a DNS message
        if self.upstream is not None and self.upstream.fileno() != -1:
            self.answers.ask(self.upstream, conn, query)
        elif len(self.waiting) < MOST:
            self.waiting.append((conn, query))
            if len(self.waiting) == 1:
                self.client.register(self.address).add_done_callback(self.connected)

    def connected(self, dialed: Future[ringnet.Connection]) -> None:
        """On the same thread. If it failed, clients will retry, as resolvers do."""
        waiting, self.waiting = self.waiting, []
        if dialed.exception() is not None:
            print(f"no upstream: {dialed.exception()}", flush=True)
            return
        self.upstream = dialed.result()
        for asker, query in waiting:
            self.answers.ask(self.upstream, asker, query)


if __name__ == "__main__":
    command = parser(__doc__, "udp://127.0.0.1:5353")
    command.add_argument("--upstream", type=address, default="udp://9.9.9.9:53", metavar="ADDRESS")
    given = command.parse_args()
    if given.reactors != 1:
        command.error("it has no lock, and so only works with one reactor")
    serve(Forwarder(given.upstream), given)
