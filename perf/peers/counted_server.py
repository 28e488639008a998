"""The echo server whose instructions are counted: `python counted_server.py BACKEND`.

A message MARK makes it call getppid(2), before which callgrind writes down what it counted so far.
A message GATE stops it, which it says on standard output, until a byte comes on standard input:
what was sent to it meanwhile it then finds all at once, so that every run has the same turns.
instructions.py is the other side.

valgrind runs one thread at a time, and takes io_uring_enter(2) for a call that does not block: what
waits there keeps all others waiting. So there are no others: `ringnet.run` serves from this one.
"""

from __future__ import annotations

import gc
import os
import sys

import ringnet
from roles import HOST

MARK, GATE = b"mark", b"gate"


class Counted(ringnet.EventHandler):
    """Echoes, and heeds the two commands."""

    def on_boot(self, engine: ringnet.Engine) -> None:
        print(engine.addresses[0].rpartition(":")[2], flush=True)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        if len(data) == len(MARK):
            self.command(data)
        conn.write(data)

    def command(self, data: bytes) -> None:
        if data == MARK:
            os.getppid()
        elif data == GATE:
            os.write(1, b"x")
            os.read(0, 1)


gc.disable()  # it would come at one count and not at the other
ringnet.run(Counted(), f"tcp://{HOST}:0", backend=sys.argv[1])
