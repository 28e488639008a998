"""A chat: each line goes to everybody else.

    python examples/chat.py
    nc 127.0.0.1 9100          (in two terminals)
    python examples/chat.py unix:///tmp/chat.sock      (and nc -U /tmp/chat.sock)

Members may be on several reactors. A connection may only be written to on its own reactor's thread,
so lines are sent to the others with `async_write`; the lock guards only the set of members.
"""

from __future__ import annotations

from contextlib import suppress
from threading import Lock

import ringnet
from _cli import announce, arguments, serve

MAX_LINE = 4096  # bytes; a member that sends more without an end of line is disconnected


class Chat(ringnet.EventHandler):
    """Keeps the set of members, and passes on their lines."""

    def __init__(self) -> None:
        self.members: set[ringnet.Connection] = set()
        self.lock = Lock()

    def on_boot(self, engine: ringnet.Engine) -> None:
        announce(engine)

    def on_open(self, conn: ringnet.Connection) -> bytes:
        conn.context = name_of(conn)
        with self.lock:
            self.members.add(conn)
        self.broadcast(conn, f"* {conn.context} is here\n".encode())
        return b"* welcome; what you type goes to everybody else\n"

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        there = conn.peek()
        end = there.rfind(b"\n") + 1  # whole lines; the rest stays until its end arrives
        if len(there) - end > MAX_LINE:
            conn.write(b"* that line is too long\n")
            return ringnet.Action.CLOSE
        said = [b"%b: %b\n" % (conn.context.encode(), line) for line in there[:end].splitlines()]
        conn.discard(end)
        if said:
            self.broadcast(conn, b"".join(said))
        return None

    def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
        with self.lock:
            self.members.discard(conn)
        self.broadcast(conn, f"* {conn.context} has left\n".encode())

    def broadcast(self, speaker: ringnet.Connection, text: bytes) -> None:
        """Write to everybody but the speaker. A member that is just leaving misses it."""
        with self.lock:
            others = self.members - {speaker}
        for member in others:
            with suppress(ringnet.ConnectionClosed):  # its reactor has already stopped
                member.async_write(text, lambda conn, error: None)


def name_of(conn: ringnet.Connection) -> str:
    """Host and port, or a number for a peer on a Unix socket."""
    address = conn.remote_address
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else f"#{conn.fileno()}"


if __name__ == "__main__":
    serve(Chat(), arguments(__doc__, "tcp://127.0.0.1:9100"))
