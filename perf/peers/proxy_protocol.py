"""A TCP proxy for asyncio's loops, with flow control in both directions."""

from __future__ import annotations

import asyncio
from typing import cast


class End(asyncio.Protocol):
    """One end; `other` is the transport of the other one."""

    other: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        if self.other is not None:
            self.other.close()


class Proxy(End):
    """The end of an accepted connection."""

    target: tuple[str, int]
    early = b""  # what came before the other end was there: uvloop reads though it is paused

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.transport.pause_reading()
        self.dialing = asyncio.get_running_loop().create_task(self.dial())

    def data_received(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        else:
            self.other.write(data)

    async def dial(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            transport, end = await loop.create_connection(End, *self.target)
        except OSError:
            self.transport.close()
            return
        self.other, end.other = transport, self.transport
        transport.write(self.early)
        self.transport.resume_reading()
