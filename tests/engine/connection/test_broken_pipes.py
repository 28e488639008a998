"""Where a program has given SIGPIPE its default action, no write of ours raises it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from engine_tools import IN_CHILDREN, WAIT

PROGRAM = """
import signal, socket, struct, sys, tempfile, threading
import ringnet
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
closed = threading.Semaphore(0)

class Writes(ringnet.EventHandler):
    def on_traffic(self, conn):
        conn.next()
    def on_end(self, conn):
        for _ in range(5):
            conn.write(b"into the void" * 1000)
        return None
    def on_close(self, conn, error):
        closed.release()

path = tempfile.mkdtemp() + "/s"
with ringnet.Engine(Writes(), "tcp://127.0.0.1:0", f"unix://{path}", backend=sys.argv[1]) as engine:
    host, _, port = engine.addresses[0].removeprefix("tcp://").rpartition(":")
    for number in range(6):
        peer = socket.socket(socket.AF_UNIX if number % 2 else socket.AF_INET)
        peer.connect(path if number % 2 else (host, int(port)))
        peer.sendall(b"x")
        peer.close()
        assert closed.acquire(timeout=20)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    conn = engine.enroll(ours).result(20)
    theirs.close()
    assert closed.acquire(timeout=20)
print("alive")
"""


@pytest.mark.parametrize("backend", IN_CHILDREN)
def test_the_default_action_of_sigpipe_does_not_end_the_program(backend: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, backend],
        capture_output=True,
        text=True,
        timeout=WAIT * 3,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "alive\n"), done.stderr
