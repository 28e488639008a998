"""What a connection offers to write with, and its water marks.

What is written goes to the backend's stage; where that has no room, to the overflow, which is fed
to the backend whenever it says DRAINED. Above `high_water` bytes the connection is congested, and
`on_writable` tells when no more than `low_water` bytes wait again.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import get_ident
from typing import Any, Protocol

from ...completion import GRACEFUL
from ..base.errors import UsageError
from ..buffers.buffer import as_bytes
from .outbound_bound import refusal
from .stream import CONGESTED, END_DUE, PEER_ENDED, SHUT, Stream

_KEPT = (list, tuple)  # of parts: they are still the caller's when a write is refused
_JOIN_UP_TO = 256 * 1024  # bytes of overflow that are handed to the backend at once


class Readable(Protocol):
    """A file that `read_from` reads."""

    def read(self, size: int, /) -> bytes: ...


class Writing(Stream):
    """The part of a connection that writes; on its reactor's thread."""

    __slots__ = ()

    def writev(self, parts: Iterable[bytes]) -> None:
        """`write` all the parts, in order, as one. gnet: Writev.

        An iterator is not touched where there is no room at all.
        """
        if type(parts) not in _KEPT and not self._room_to_write(must=True):
            return
        self.write(b"".join([as_bytes(part) for part in parts]))

    def read_from(self, file: Readable) -> int:
        """Write what `file` has until its end; returns how many bytes. gnet: ReadFrom.

        No more is read of `file` than may wait: where `max_outbound` or `max_buffered` is reached,
        it returns what was written, and can be called again later, as in `on_writable`. Raises as
        `write` where there is no room at all; then nothing was read.
        """
        total = 0
        while room := self._room_to_write(must=not total):
            data = file.read(min(room, _JOIN_UP_TO))
            if not data:
                break
            self.write(data)
            total += len(data)
        return total

    def send_to(self, data: bytes, address: Any) -> None:
        """Send one datagram to another address than the sender's. gnet: SendTo.

        Raises UsageError here: a stream has one peer.
        """
        raise UsageError("a stream has one peer: use write; send_to is for datagrams")

    def flush(self) -> None:
        """Does nothing more than the end of the turn does: what was written goes out then.

        gnet: Flush.
        """
        if self._owner != get_ident():
            raise self._misuse()

    def shutdown_write(self) -> None:
        """End our side after what was written; the peer sees the end, and reading goes on.

        From then on `write` raises ConnectionClosed. Once the peer has ended its side as well, the
        connection is closed. See shutdown(2), SHUT_WR.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._marks & SHUT:
            return
        self._marks |= SHUT
        self._limit = -1
        if self._overflow is None:
            self._loop.backend.shutdown(self._handle)
        if self._marks & (PEER_ENDED | END_DUE) == PEER_ENDED:
            self._finish(None)

    @property
    def is_writable(self) -> bool:
        """False from when more than `high_water` bytes wait until `on_writable`, and once closing.

        Writing goes on to work; this is for those who can stop the source, as a proxy can.
        """
        return not self._marks & CONGESTED and self._owner != 0

    def _room_to_write(self, must: bool) -> int:
        """How many bytes may be written now. Where it must be some, 0 is refused as by `write`."""
        if self._owner != get_ident():
            raise self._misuse()
        if self._marks & SHUT:
            raise self._shut_error()
        options, waiting = self._loop.options, self.outbound_buffered
        if refusal(self._loop, waiting, 1) is None:
            in_all = options.max_buffered - self._loop.budget.buffered
            return max(1, min(options.max_outbound - waiting, in_all))
        if must:
            self._refuses(waiting, 1)
        return 0

    def _pump(self) -> None:
        """For the reactor: the stage is empty (DRAINED), so give it the next of the overflow."""
        backend, overflow = self._loop.backend, self._overflow
        # Where more was written since that was said, the stage is not empty any more.
        if overflow is not None and self._loop.sent(self._handle) == self._written:
            data = overflow.take(_JOIN_UP_TO)
            self._written += len(data)
            backend.send(self._handle, data)
            if not overflow:
                self._overflow = None
                self._end_after_overflow()
        if self._marks & CONGESTED:
            self._see_congestion()
        if self._marks & CONGESTED or self._overflow is not None:
            backend.notify(self._handle)

    def _see_congestion(self) -> None:
        """Bring up to date what is counted, and tell the handler when little is left."""
        waiting = self.outbound_buffered
        if waiting > self._loop.options.low_water:
            self._count_outbound(waiting)
            return
        self._marks &= ~CONGESTED
        self._count_outbound(0)  # as before it was congested
        if self._owner:
            self._loop.call_on_writable(self)

    def _end_after_overflow(self) -> None:
        """An end that was asked for while bytes waited."""
        if self._owner == 0:
            self._loop.backend.close(self._handle, GRACEFUL)
        elif self._marks & SHUT:
            self._loop.backend.shutdown(self._handle)
        else:
            self._limit = 0
