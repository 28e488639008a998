"""The echo server whose instructions are counted: `python counted_server.py BACKEND`.

A message MARK makes it call getppid(2), before which callgrind writes what it has counted so far. A
message GATE makes it write a byte to standard output and wait for one on standard input. What was
sent in the meantime is then found all at once, so every run has the same turns. instructions.py is
the other side.

valgrind runs one thread at a time and treats io_uring_enter(2) as a call that does not block: a
thread that waits there keeps all others waiting. So `ringnet.run` serves on the only thread.
"""

from __future__ import annotations

import gc
import os
import sys

import ringnet
from roles import HOST

MARK, GATE = b"mark", b"gate"


class Counted(ringnet.EventHandler):
    """Echoes, and obeys the two commands."""

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


gc.disable()  # it would run during one count and not during the other
ringnet.run(Counted(), f"tcp://{HOST}:0", backend=sys.argv[1])
