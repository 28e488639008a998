"""What users write, as a type checker reads it: CI has mypy check it, and it is never run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ringnet


class OfStreams(ringnet.EventHandler):
    def on_open(self, conn: ringnet.Connection) -> bytes:
        conn.context = 1
        timer: ringnet.Timer = conn.loop.schedule(1.0, conn.close)
        timer.cancel()
        loop: ringnet.EventLoop = conn.loop
        other: ringnet.Connection = loop.register("tcp://127.0.0.1:1").result()
        other.set_deadline(1.0)
        return b"hello"

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        conn.write(conn.next())
        conn.pause_reading()
        return ringnet.Action.CLOSE if conn.loop.is_stopping else None


class OfDatagrams(ringnet.EventHandler):
    def on_traffic(self, conn: ringnet.Datagram) -> None:
        conn.send_to(conn.next(), conn.remote_address)


class OfBoth(ringnet.EventHandler):
    def on_boot(self, engine: ringnet.Engine) -> None:
        loops: tuple[ringnet.EventLoop, ...] = engine.reactors
        assert not loops

    def on_traffic(self, conn: ringnet.Conn) -> None:
        conn.set_read_buffer(4096)
        if isinstance(conn, ringnet.Connection):
            conn.shutdown_write()
        conn.write(conn.peek(conn.inbound_buffered))
        conn.flush()


def first(reactors: Sequence[ringnet.EventLoop], address: Any) -> ringnet.EventLoop:
    return reactors[0]


engine = ringnet.Engine(OfBoth(), "tcp://:0", load_balancing=first)
client = ringnet.Client(OfStreams(), engine=engine)
both: list[type[ringnet.Conn]] = [ringnet.Connection, ringnet.Datagram]
