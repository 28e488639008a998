"""The echo server whose instructions are counted: `python counted_server.py BACKEND`.

A message MARK makes it call getppid(2), before which callgrind writes down what it counted so far.
A message GATE stops it until a byte comes on standard input: what was sent to it meanwhile it then
finds all at once, so that every run has the same turns. instructions.py is the other side.
"""

from __future__ import annotations

import gc
import os
import sys

import ringnet
from roles import HOST

MARK, GATE = b"mark", b"gate"
TICK = 0.02  # seconds


class Counted(ringnet.EventHandler):
    """Echoes, and heeds the two commands."""

    counting = False

    def on_boot(self, engine: ringnet.Engine) -> None:
        print(engine.addresses[0].rpartition(":")[2], flush=True)

    def on_tick(self) -> float:
        # The main thread, which is still starting the engine, has to run too: see nudge.py.
        return 3600.0 if self.counting else TICK

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        if len(data) == len(MARK):
            self.command(data)
        conn.write(data)

    def command(self, data: bytes) -> None:
        if data == MARK:
            self.counting = True
            os.getppid()
        elif data == GATE:
            os.read(0, 1)


gc.disable()  # it would come at one count and not at the other
ringnet.run(Counted(), f"tcp://{HOST}:0", backend=sys.argv[1])
