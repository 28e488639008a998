"""The echo server whose instructions are counted: `python counted_server.py BACKEND`.

A message MARK makes it call getppid(2), before which callgrind writes down what it counted so far.
A message GATE stops it, which it says on standard output, until a byte comes on standard input:
what was sent to it meanwhile it then finds all at once, so that every run has the same turns.
instructions.py is the other side.

valgrind runs one thread at a time, and takes io_uring_enter(2) for a call that does not block: a
reactor that waits there would keep the main thread from ever finishing the engine's start. So its
loop is held until then, and wakes up by a tick until the counting begins.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from types import FrameType

import ringnet
from roles import HOST

MARK, GATE = b"mark", b"gate"
TICK = 0.02  # seconds
LOOP = "_loop"  # the method of a reactor that turns

started = threading.Event()


class Counted(ringnet.EventHandler):
    """Echoes, and heeds the two commands."""

    counting = False

    def on_tick(self) -> float:
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
            os.write(1, b"x")
            os.read(0, 1)


def hold(frame: FrameType, event: str, argument: object) -> None:
    """Profile a thread until its loop is called, which has to wait."""
    if event == "call" and frame.f_code.co_name == LOOP:
        sys.setprofile(None)
        started.wait()


gc.disable()  # it would come at one count and not at the other
threading.setprofile(hold)
engine = ringnet.Engine(Counted(), f"tcp://{HOST}:0", backend=sys.argv[1]).start()
print(engine.addresses[0].rpartition(":")[2], flush=True)
started.set()
engine.wait()
