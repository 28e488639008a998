"""The methods of a connection that write, and its water marks.

What is written goes to the backend's stage, or to the overflow if the stage has no room; the
overflow is passed to the backend whenever it reports DRAINED. Above `high_water` bytes the
connection is congested, and `on_writable` is called once no more than `low_water` bytes wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import get_ident
from typing import Any

from ...completion import GRACEFUL
from ..base.errors import UsageError
from ..buffers.buffer import Readable, as_bytes
from .outbound_bound import refusal
from .stream import CONGESTED, END_DUE, PEER_ENDED, SHUT, Stream

_KEPT = (list, tuple)  # the caller still has these parts when a write is refused
_JOIN_UP_TO = 256 * 1024  # bytes of overflow that are passed to the backend at once


class Writing(Stream):
    """The methods of a connection that write; on its reactor's thread."""

    __slots__ = ()

    def writev(self, parts: Iterable[bytes]) -> None:
        """Write all the parts, in order, as one. gnet: Writev.

        An iterator is not consumed if there is no room at all.
        """
        if type(parts) not in _KEPT and not self._room_to_write(must=True):
            return
        self.write(b"".join([as_bytes(part) for part in parts]))

    def read_from(self, file: Readable) -> int:
        """Write the contents of `file` until its end; returns how many bytes. gnet: ReadFrom.

        No more is read from `file` than may wait: when `max_outbound` or `max_buffered` is reached,
        it returns the number written so far, and can be called again later, for instance in
        `on_writable`. Raises as `write` if there is no room at all; then nothing was read.
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
        """For datagrams; raises UsageError here, since a stream has one peer. gnet: SendTo."""
        raise UsageError("a stream has one peer: use write; send_to is for datagrams")

    def flush(self) -> None:
        """Does nothing: what was written is sent at the end of the turn anyway. gnet: Flush."""
        if self._owner != get_ident():
            raise self._misuse()

    def shutdown_write(self) -> None:
        """End our side once everything written has been sent; reading continues.

        From now on `write` raises ConnectionClosed. Once the peer has ended its side as well, the
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
        """False once more than `high_water` bytes wait, until `on_writable`; and while closing.

        `write` still works; this is for programs that can pause the source of the data, such as a
        proxy.
        """
        return not self._marks & CONGESTED and self._owner != 0

    def _room_to_write(self, must: bool) -> int:
        """How many bytes may be written now. With `must`, none at all is refused as by `write`."""
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
        """For the reactor: the stage is empty (DRAINED), so pass it more of the overflow."""
        backend, overflow = self._loop.backend, self._overflow
        # If more was written since DRAINED, the stage is not empty any more.
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
        """Update the count of waiting bytes, and call the handler when few are left."""
        waiting = self.outbound_buffered
        if waiting > self._loop.options.low_water:
            self._count_outbound(waiting)
            return
        self._marks &= ~CONGESTED
        self._count_outbound(0)  # as before it was congested
        if self._owner:
            self._loop.call_on_writable(self)

    def _end_after_overflow(self) -> None:
        """End our side now if that was requested while bytes were waiting."""
        if self._owner == 0:
            self._loop.backend.close(self._handle, GRACEFUL)
        elif self._marks & SHUT:
            self._loop.backend.shutdown(self._handle)
        else:
            self._limit = 0
