"""A ringnet server: `python ringnet_server.py ROLE BACKEND [REACTORS] [PROCESSES]`.

It is ringnet as its users meet it: a handler and `ringnet.run`. It prints the port that it listens
on. Where it cannot run, it prints one line to standard error and exits with 1.
"""

from __future__ import annotations

import os
import socket
import sys

from roles import BLOCK, HOST

try:
    import ringnet
except ImportError as error:
    sys.exit(f"ringnet does not import ({error}): pip install . in the root of the project")


class Echo(ringnet.EventHandler):
    """Sends back what it gets."""

    def on_boot(self, engine: ringnet.Engine) -> None:
        print(engine.addresses[0].rpartition(":")[2], flush=True)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        conn.write(conn.next())


class Sink(Echo):
    """Drops what it gets."""

    def on_traffic(self, conn: ringnet.Connection) -> None:
        conn.discard()


class Source(Echo):
    """Answers each byte with a block."""

    def on_traffic(self, conn: ringnet.Connection) -> None:
        for _ in range(conn.discard()):
            conn.write(BLOCK)


class Broadcast(Echo):
    """Sends what it gets to all connections."""

    def __init__(self) -> None:
        self.everybody: set[ringnet.Connection] = set()

    def on_open(self, conn: ringnet.Connection) -> None:
        self.everybody.add(conn)

    def on_traffic(self, conn: ringnet.Connection) -> None:
        data = conn.next()
        for each in self.everybody:
            each.write(data)

    def on_close(self, conn: ringnet.Connection, error: BaseException | None) -> None:
        self.everybody.discard(conn)


HANDLERS = {"echo": Echo, "udp": Echo, "sink": Sink, "source": Source, "broadcast": Broadcast}


def fork(processes: int) -> str:
    """More processes that listen at the same address. Returns it; the first one keeps it bound."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind((HOST, 0))
    address = f"tcp://{HOST}:{holder.getsockname()[1]}"
    holder.set_inheritable(True)
    for _ in range(processes - 1):
        if os.fork() == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the first one prints the port
            break
    return address


def main(role: str, backend: str, reactors: str = "1", processes: str = "1") -> None:
    scheme = "udp" if role == "udp" else "tcp"
    address, many = f"{scheme}://{HOST}:0", int(processes)
    if many > 1:
        address = fork(many)
    ringnet.run(
        HANDLERS[role](),
        address,
        backend=backend,
        reactors=int(reactors),
        reuse_port=many > 1,
    )


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ringnet.RingnetError as error:
        sys.exit(str(error))
