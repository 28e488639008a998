"""A server on asyncio's loop or uvloop's: `python asyncio_server.py KIND ROLE [TARGET_PORT]`.

KIND is asyncio, uvloop, or streams (asyncio's readers and writers). It prints the port that it
listens on and serves until it is terminated. Where a package is missing, it prints one line to
standard error and exits with 1.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import cast

from roles import BLOCK, HOST

BACKLOG = 4096


class Echo(asyncio.Protocol):
    """Sends back what it gets."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # A cast, not a check: uvloop's transports do not derive from asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self.write = self.transport.write

    def data_received(self, data: bytes) -> None:
        self.write(data)


class Sink(Echo):
    """Drops what it gets."""

    def data_received(self, data: bytes) -> None:
        pass


class Source(Echo):
    """Answers each byte with a block."""

    def data_received(self, data: bytes) -> None:
        for _ in data:
            self.write(BLOCK)


class Broadcast(Echo):
    """Sends what it gets to all connections."""

    everybody: set[Broadcast] = set()  # noqa: RUF012

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.everybody.add(self)

    def data_received(self, data: bytes) -> None:
        for each in self.everybody:
            each.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.everybody.discard(self)


class Datagrams(asyncio.DatagramProtocol):
    """Sends each datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.send = cast("asyncio.DatagramTransport", transport).sendto

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        self.send(data, address)


def _http() -> type[asyncio.Protocol]:
    from http_protocol import Http

    return Http


def _redis() -> type[asyncio.Protocol]:
    from redis_protocol import Redis

    return Redis


def _proxy() -> type[asyncio.Protocol]:
    from proxy_protocol import Proxy

    Proxy.target = (HOST, int(sys.argv[3]))
    return Proxy


PROTOCOLS: dict[str, Callable[[], type[asyncio.Protocol]]] = {
    "echo": lambda: Echo,
    "sink": lambda: Sink,
    "source": lambda: Source,
    "broadcast": lambda: Broadcast,
    "http": _http,
    "redis": _redis,
    "proxy": _proxy,
}


async def serve_protocol(role: str) -> None:
    protocol = PROTOCOLS[role]()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, HOST, 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


async def serve_datagrams() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=(HOST, 0))
    print(transport.get_extra_info("sockname")[1], flush=True)
    await asyncio.Event().wait()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def _sink(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass
    writer.close()


async def _source(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        for _ in data:
            writer.write(BLOCK)
            await writer.drain()
    writer.close()


STREAMS: dict[str, Handler] = {"echo": _echo, "sink": _sink, "source": _source}


async def serve_streams(role: str) -> None:
    server = await asyncio.start_server(STREAMS[role], HOST, 0, backlog=BACKLOG)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main(kind: str, role: str) -> None:
    factory = None
    if kind == "uvloop":
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        if kind == "streams":
            runner.run(serve_streams(role))
        elif role == "udp":
            runner.run(serve_datagrams())
        else:
            runner.run(serve_protocol(role))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:3])
    except ImportError as missing:
        sys.exit(f"{missing}: pip install '.[perf]'")
    except KeyboardInterrupt:
        pass
