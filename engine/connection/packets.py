"""Connections that keep message boundaries: connected sockets of packets."""

from __future__ import annotations

from collections.abc import Iterable
from threading import get_ident

from ..base.errors import UsageError
from ..buffers.buffer import Readable, as_bytes
from .connection import Connection
from .endpoint import Endpoint
from .stream import SHUT, Callback, wrong_thread


class PacketConnection(Connection):
    """A connected socket of packets: `unixpacket`, or a datagram socket that was dialed.

    Each `write` is one packet. If the system reports that a datagram could not be delivered, the
    connection is closed with that error.
    """

    __slots__ = ("_endpoint", "_to")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        super().__init__(endpoint.loop, endpoint.handle, endpoint.fd, endpoint.origin)
        self._to = b""

    def write(self, data: bytes) -> None:
        """Send one packet. Raises as `Connection.write`, and ValueError if it is too large.

        gnet: Write.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._marks & SHUT:
            raise self._shut_error()
        self._endpoint.send(data, self._to)

    def async_write(self, data: bytes, callback: Callback | None = None) -> None:
        """`write` from any thread. Raises ValueError at once if the packet is too large."""
        data = as_bytes(data)
        self._endpoint.check_size(data)
        super().async_write(data, callback)

    def writev(self, parts: Iterable[bytes]) -> None:
        """Send one packet made of the parts. gnet: Writev."""
        self.write(b"".join([as_bytes(part) for part in parts]))

    def read_from(self, file: Readable) -> int:
        """Send the contents of `file` as one packet. gnet: ReadFrom.

        It is not read if a packet of the largest size could not be sent.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._marks & SHUT:
            raise self._shut_error()
        self._endpoint.check_room()
        data = file.read(-1)
        self.write(data)
        return len(data)

    def shutdown_write(self) -> None:
        """End our side. Raises UsageError for datagrams, which have no half close."""
        if not self._endpoint.has_end:
            raise UsageError("a datagram socket cannot be half-closed: use close")
        super().shutdown_write()

    def pause_reading(self) -> None:
        """Stop receiving until `resume_reading`. What was received already is still delivered."""
        if self._owner != get_ident():
            raise self._misuse()
        if not self._paused:
            self._paused = True
            self._loop.backend.pause(self._handle)

    @property
    def is_writable(self) -> bool:
        """Whether at most `high_water` bytes wait. There is no `on_writable` for packets."""
        return self._owner != 0 and self.outbound_buffered <= self._loop.options.high_water

    @property
    def outbound_buffered(self) -> int:
        """Bytes that were written and not taken by the kernel yet."""
        if self._fd == -1:
            return 0
        if self._loop.ident != get_ident():
            raise wrong_thread(self._loop)
        return self._endpoint.waiting()

    @property
    def _counted(self) -> int:
        """Outbound bytes that are counted for `max_buffered`: those of the socket."""
        return self._endpoint.counted

    @_counted.setter
    def _counted(self, count: int) -> None:
        self._endpoint.counted = count

    def _pump(self) -> None:
        """For the reactor: what waited has been sent (DRAINED)."""
        if self._owner:
            self._endpoint.drained()
