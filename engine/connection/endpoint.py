"""A socket of packets: what is sent through it, and how much of that waits."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..base.errors import BufferLimitExceeded, ConnectionClosed, EngineStateError
from ..buffers.buffer import as_bytes
from .origin import Origin

if TYPE_CHECKING:
    from .owner import Owner

LARGEST_UDP = {
    socket.AF_INET: 65_507,
    socket.AF_INET6: 65_527,
}  # bytes; RFC 768, without jumbograms
_LARGEST_UNIX = 212_992  # bytes that Linux takes by default, less its own
LARGEST = 1 << 30  # bytes of a packet of another kind, where the system would take more


class Endpoint:
    """A socket of packets: what it is sent goes through here. On the reactor's thread."""

    def __init__(self, loop: Owner, handle: int, sock: socket.socket, origin: Origin) -> None:
        self.loop = loop
        self.origin = origin
        self.on_traffic = origin.on_traffic
        self.local_address: Any = _name_of(sock)
        self.family = sock.family
        self.only_v6 = _is_only_v6(sock)
        self.has_end = sock.type == getattr(socket, "SOCK_SEQPACKET", None)
        self.is_open = True
        self.kind: Callable[[Endpoint, bytes, int, int], Any]  # of what arrives, at a listener
        self.handle = handle
        self.fd = sock.detach()
        self._least = 1 if self.has_end else 0
        self._largest = LARGEST_UDP.get(self.family, LARGEST)
        self.counted = 0  # bytes that wait, as the engine's bound counts them
        self._written = 0  # bytes so far, without those refused
        self._limit = 0  # of `_written`, before somebody has to look how many still wait
        self._send_to = loop.backend.send_to

    def send(self, data: bytes, to: bytes) -> None:
        """Send one packet."""
        if not self.is_open:
            raise self.is_over()
        if type(data) is not bytes:
            data = as_bytes(data)
        size = len(data)
        if not self._least <= size <= self._largest:
            self.check_size(data)
        written = self._written + size
        if written > self._limit:
            self._recount(size)
        self._written = written
        self._send_to(self.handle, data, to)

    def check_size(self, data: bytes) -> int:
        """Raise ValueError for what can be no packet. On any thread."""
        size = len(data)
        if size > self._largest:
            raise ValueError(f"a datagram has at most {self._largest} bytes, not {size}")
        if self.has_end and not size:
            raise ValueError("an empty packet would be the end of the connection: use close")
        return size

    def check_room(self) -> None:
        """Raise where a packet, of whatever size, could not be sent now."""
        if not self.is_open:
            raise self.is_over()
        self._check_bounds(min(self._largest, _LARGEST_UNIX))

    def waiting(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._written - self.loop.sent(self.handle) if self.is_open else 0

    def is_over(self) -> Exception:
        """Why the socket cannot be used any more."""
        if self.loop.engine.is_forked:
            return EngineStateError("this datagram belongs to the process that made its engine")
        return ConnectionClosed("the socket of this datagram is closed")

    def refused(self, size: int) -> None:
        """So many bytes will not be sent: nobody waits for them."""
        self._written -= size

    def drained(self) -> None:
        """What waited has left; more may have been written since."""
        self._count(self.waiting())

    def end(self) -> None:
        """The socket is closed, or will be without us."""
        self.is_open = False
        self.loop.buffered -= self.counted
        self.counted = 0

    def _recount(self, size: int) -> None:
        """Much was written since somebody last looked how much of it waits."""
        waiting, options = self._check_bounds(size), self.loop.options
        self._count(waiting + size)
        self._limit = self._written - waiting + min(options.high_water, options.max_outbound)

    def _check_bounds(self, size: int) -> int:
        """How many bytes wait; raises where so many more may not."""
        waiting, options = self.waiting(), self.loop.options
        after = waiting + size
        if waiting and after > options.max_outbound:
            raise BufferLimitExceeded(
                f"{waiting} bytes wait to be sent (max_outbound={options.max_outbound}): "
                "the socket is slower than you write"
            )
        if after > options.high_water and not self.loop.budget.may_buffer(after - self.counted):
            raise BufferLimitExceeded(
                f"the engine holds max_buffered={options.max_buffered} bytes already"
            )
        return waiting

    def _count(self, waiting: int) -> None:
        """Have the engine's bound count what waits above the mark, until that has left."""
        counted = waiting if waiting > self.loop.options.high_water else 0
        if counted:
            self.loop.backend.notify(self.handle)
        self.loop.buffered += counted - self.counted
        self.counted = counted


def _is_only_v6(sock: socket.socket) -> bool:
    if sock.family != socket.AF_INET6:
        return False
    return bool(sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY))


def _name_of(sock: socket.socket) -> Any:
    try:
        return sock.getsockname()
    except OSError:
        return None
