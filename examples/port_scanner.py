"""A port scanner: prints the open TCP ports of a host. Dials many at once, in one thread.

python examples/port_scanner.py 127.0.0.1 1-1024
"""

from __future__ import annotations

import argparse
import socket
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue

import ringnet
from _cli import plain_words, prompt_signals

AT_ONCE = 500  # ports that are dialed at the same time


class Knock(ringnet.EventHandler):
    """Closes each connection as soon as it is open."""

    def on_open(self, conn: ringnet.Connection) -> None:
        conn.close_now()


def scan(host: str, ports: range, timeout: float, backend: str) -> Iterator[int]:
    """Yield the open ports, in no particular order."""
    answers: SimpleQueue[tuple[int, bool]] = SimpleQueue()

    def note(port: int, done: Future[ringnet.Connection]) -> None:
        answers.put((port, done.exception() is None))

    with ringnet.Client(Knock(), backend=backend) as client:
        waiting = 0
        for port in ports:
            dialed = client.register(f"tcp://{host}:{port}", timeout)
            dialed.add_done_callback(partial(note, port))
            waiting += 1
            if waiting >= AT_ONCE:
                yield from _open(answers.get())
                waiting -= 1
        for _ in range(waiting):
            yield from _open(answers.get())


def _open(answer: tuple[int, bool]) -> Iterator[int]:
    port, is_open = answer
    if is_open:
        yield port


def main() -> None:
    """Print a line for each open port."""
    command = argparse.ArgumentParser(description="Print the open TCP ports of a host.")
    command.add_argument("host")
    command.add_argument("ports", nargs="?", default="1-1024", help="FIRST-LAST")
    command.add_argument("--timeout", type=float, default=1.0, help="seconds for each port")
    command.add_argument("--backend", default="auto")
    given = command.parse_args()
    first, _, last = given.ports.partition("-")
    ports = range(int(first), int(last or first) + 1)
    host = socket.getaddrinfo(given.host, None, type=socket.SOCK_STREAM)[0][4][0]  # only once
    host = f"[{host}]" if ":" in host else host
    for port in sorted(scan(host, ports, given.timeout, given.backend)):
        print(f"{port} open")


if __name__ == "__main__":
    with plain_words(), prompt_signals():
        main()
