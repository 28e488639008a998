"""A socket of packets: sending through it, and how many bytes wait to be sent."""

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
_LARGEST_UNIX = 212_992  # bytes: Linux's default send buffer, less its overhead
LARGEST = 1 << 30  # bytes of a packet of another kind, even if the system would take more


class Endpoint:
    """A socket of packets, through which its datagrams are sent. On the reactor's thread."""

    def __init__(self, loop: Owner, handle: int, sock: socket.socket, origin: Origin) -> None:
        self.loop = loop
        self.origin = origin
        self.on_traffic = origin.on_traffic
        self.local_address: Any = _name_of(sock)
        self.family = sock.family
        self.only_v6 = _is_only_v6(sock)
        self.has_end = sock.type == getattr(socket, "SOCK_SEQPACKET", None)
        self.is_open = True
        self.kind: Callable[[Endpoint, bytes, int, int], Any]  # the class of incoming datagrams
        self.handle = handle
        self.fd = sock.detach()
        self._least = 1 if self.has_end else 0
        self._largest = LARGEST_UDP.get(self.family, LARGEST)
        self.counted = 0  # waiting bytes, as counted for `max_buffered`
        self._written = 0  # bytes so far, without those refused
        self._limit = 0  # once `_written` exceeds it, `_recount` checks how many still wait
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
        self._send_to(self.handle, data, to)
        self._written = written

    def check_size(self, data: bytes) -> int:
        """Raise ValueError unless `data` can be sent as one packet. On any thread."""
        size = len(data)
        if size > self._largest:
            raise ValueError(f"a datagram has at most {self._largest} bytes, not {size}")
        if self.has_end and not size:
            raise ValueError("an empty packet would end the connection: use close")
        return size

    def check_room(self) -> None:
        """Raise if a packet of the largest size could not be sent now."""
        if not self.is_open:
            raise self.is_over()
        self._check_bounds(min(self._largest, _LARGEST_UNIX))

    def waiting(self) -> int:
        """Bytes that the kernel has not taken yet."""
        return self._written - self.loop.sent(self.handle) if self.is_open else 0

    def is_over(self) -> Exception:
        """The error for using the socket after its end."""
        if self.loop.engine.is_forked:
            return EngineStateError("this datagram belongs to the process that created its engine")
        return ConnectionClosed("the socket of this datagram is closed")

    def refused(self, size: int) -> None:
        """`size` bytes will not be sent, and no longer wait."""
        self._written -= size

    def drained(self) -> None:
        """What waited has been sent; more may have been written since."""
        self._count(self.waiting())

    def end(self) -> None:
        """The socket is closed, or will be by others."""
        self.is_open = False
        self.loop.buffered -= self.counted
        self.counted = 0

    def _recount(self, size: int) -> None:
        """Check how many bytes still wait, and set the limit for the next check."""
        waiting, options = self._check_bounds(size), self.loop.options
        self._count(waiting + size)
        self._limit = self._written - waiting + min(options.high_water, options.max_outbound)

    def _check_bounds(self, size: int) -> int:
        """How many bytes wait; raises BufferLimitExceeded if `size` more may not."""
        waiting, options = self.waiting(), self.loop.options
        after = waiting + size
        if waiting and after > options.max_outbound:
            raise BufferLimitExceeded(
                f"{waiting} bytes are waiting to be sent (max_outbound={options.max_outbound}): "
                "you write faster than the socket sends"
            )
        if after > options.high_water and not self.loop.budget.may_buffer(after - self.counted):
            raise BufferLimitExceeded(
                f"the engine has buffered max_buffered={options.max_buffered} bytes already"
            )
        return waiting

    def _count(self, waiting: int) -> None:
        """Count what waits above the high-water mark for `max_buffered`, until it is sent."""
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
