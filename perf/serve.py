"""One echo server in Python, in a process of its own: `python serve.py KIND`.

It prints the port it listens on and serves until it is told to end. What is missing it says in
one line on standard error, with exit status 1. The kinds are the keys of `KINDS`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from functools import partial
from typing import cast

HOST = "127.0.0.1"


class EchoProtocol(asyncio.Protocol):
    """The same protocol for asyncio's loop and for uvloop's."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports do not derive from asyncio's.
        self._write = cast("asyncio.Transport", transport).write

    def data_received(self, data: bytes) -> None:
        self._write(data)


async def _serve_protocol() -> None:
    server = await asyncio.get_running_loop().create_server(EchoProtocol, HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def serve_asyncio() -> None:
    """The loop that asyncio gives by itself."""
    asyncio.run(_serve_protocol())


def serve_uvloop() -> None:
    """The same protocol on uvloop's loop."""
    try:
        import uvloop
    except ImportError:
        sys.exit("uvloop is not installed: pip install uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve_protocol())


def serve_ringnet(backend: str) -> None:
    """ringnet as its users meet it: a handler and `ringnet.run`."""
    try:
        import ringnet
    except ImportError as error:
        sys.exit(f"ringnet does not import ({error}): pip install -e . in the root of the project")

    class Echo(ringnet.EventHandler):
        def on_boot(self, engine: ringnet.Engine) -> None:
            print(engine.addresses[0].rpartition(":")[2], flush=True)

        def on_traffic(self, conn: ringnet.Connection) -> None:
            conn.write(conn.next())

    try:
        ringnet.run(Echo(), f"tcp://{HOST}:0", backend=backend)
    except ringnet.RingnetError as error:
        sys.exit(str(error))


KINDS: dict[str, Callable[[], None]] = {
    "asyncio": serve_asyncio,
    "uvloop": serve_uvloop,
    "ringnet-io_uring": partial(serve_ringnet, "io_uring"),
    "ringnet-epoll": partial(serve_ringnet, "epoll"),
    "ringnet-select": partial(serve_ringnet, "select"),
}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in KINDS:
        sys.exit(f"usage: serve.py {' | '.join(KINDS)}")
    KINDS[sys.argv[1]]()
