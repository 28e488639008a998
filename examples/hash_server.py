"""A hash server: hashes uploads on a worker pool, without blocking the event loops.

    python examples/hash_server.py
    (stat -c %s FILE; cat FILE) | nc -N 127.0.0.1 9200

An upload is its length in decimal, an end of line, and that many bytes. The answers, SHA-256 in
hexadecimal, come in the order of the uploads of a connection. A peer has a minute for each upload.
"""

from __future__ import annotations

from contextlib import suppress
from hashlib import sha256

import ringnet
from _cli import announce, arguments, serve

LARGEST = 32 * 1024 * 1024  # bytes of an upload
PATIENCE = 60.0  # seconds until an upload has to be there


class Hasher(ringnet.EventHandler):
    """`context` is True while an upload of the connection is being hashed."""

    def __init__(self) -> None:
        self.pool = ringnet.WorkerPool(4)

    def on_boot(self, engine: ringnet.Engine) -> None:
        announce(engine)

    def on_shutdown(self, engine: ringnet.Engine) -> None:
        self.pool.release(timeout=5)

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.set_deadline(PATIENCE)

    def on_traffic(self, conn: ringnet.Connection) -> ringnet.Action | None:
        if conn.context:
            return None  # one at a time keeps the answers in order
        return self.next_upload(conn)

    def on_end(self, conn: ringnet.Connection) -> ringnet.Action | None:
        return None if conn.context else ringnet.Action.CLOSE  # the answer is still to come

    def next_upload(self, conn: ringnet.Connection) -> ringnet.Action | None:
        head, newline, _ = conn.peek(min(conn.inbound_buffered, 12)).partition(b"\n")
        if not newline:
            return ringnet.Action.CLOSE if len(head) == 12 else None
        if not head.isdigit() or int(head) > LARGEST:
            conn.write(b"a length of at most 33554432 bytes was expected\n")
            return ringnet.Action.CLOSE
        whole = len(head) + 1 + int(head)
        if conn.inbound_buffered >= whole:
            conn.set_deadline(None)
            self.hash(conn, conn.next(whole)[len(head) + 1 :])
        return None

    def hash(self, conn: ringnet.Connection, upload: bytes) -> None:
        if conn.fileno() == -1:
            return  # it was closed while it waited for a worker
        try:
            self.pool.submit_to(conn, lambda: sha256(upload).hexdigest(), self.answer)
        except ringnet.PoolOverload:  # an event loop never waits: try again later
            conn.loop.schedule(0.01, lambda: self.hash(conn, upload))
        conn.context = True

    def answer(
        self, conn: ringnet.Connection, digest: str | None, error: BaseException | None
    ) -> None:
        conn.context = False
        if digest is None:
            conn.close()
            return
        with suppress(ringnet.ConnectionClosed):  # it may be closed by now
            conn.write(digest.encode() + b"\n")
            conn.set_deadline(PATIENCE)
            refused = self.next_upload(conn)  # it may have arrived already
            if refused or (conn.peer_has_ended and not conn.context):
                conn.close()


if __name__ == "__main__":
    # A peer that sends too much meanwhile has to wait. By default it would be disconnected.
    serve(Hasher(), arguments(__doc__, "tcp://127.0.0.1:9200"), inbound_full="pause")
