"""The writing half of a connection, and its water marks.

What is written goes to the backend's stage; where that has no room, to the overflow, which is fed
to the backend whenever it says DRAINED. Above `high_water` bytes the connection is congested, and
`on_writable` tells when no more than `low_water` bytes wait again.
"""

from __future__ import annotations

from collections.abc import Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from ..completion import GRACEFUL, INDEX_MASK, NOW, REFERRED_FROM
from .buffer import as_bytes
from .errors import BufferLimitExceeded, ConnectionClosed, UsageError
from .inbound import Inbound
from .linked_buffer import LinkedBuffer

_KEPT = (list, tuple)  # of parts: they are still the caller's when a write is refused
_JOIN_UP_TO = 256 * 1024  # bytes of overflow that are handed to the backend at once


class Readable(Protocol):
    """A file that `read_from` reads."""

    def read(self, size: int, /) -> bytes: ...


class Outbound(Inbound):
    """The part of a connection that writes; on its reactor's thread.

    It stands on the reading part because of several bases only one can have slots.
    """

    __slots__ = (
        "_congested",
        "_counted",
        "_fd",
        "_is_shut",
        "_limit",
        "_overflow",
        "_pieces",
        "_targets",
        "_written",
    )

    _congested: bool
    _counted: int  # outbound bytes that the engine's bound counts
    _fd: int
    _is_shut: bool  # our side is ended, or will be when the overflow is empty
    _limit: int  # of `_written`, before somebody has to look how many bytes still wait
    _overflow: LinkedBuffer | None  # what the backend had no room for
    _pieces: list[bytes]  # the backend's outbox
    _targets: list[int]
    _written: int  # bytes that the backend got

    if TYPE_CHECKING:  # what Connection has
        _end_due: bool
        _peer_ended: bool

        def _end(self, mode: int, error: BaseException | None) -> None: ...
        def _wrong_thread(self) -> Exception: ...
        def _finish(self, error: BaseException | None) -> None: ...

    def write(self, data: bytes) -> None:
        """Send bytes after all that was written before; returns at once.

        What is written in one turn of the loop goes out together when the turn ends. Raises
        TypeError for what is not bytes, ConnectionClosed after `close` and `shutdown_write`,
        BufferLimitExceeded where `max_outbound` bytes wait already, or `max_buffered` in the whole
        engine (then nothing of `data` is taken). gnet: Write.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if type(data) is not bytes:
            data = as_bytes(data)
        written = self._written + len(data)
        if written <= self._limit:
            self._written = written
            self._targets.append(self._handle)  # the backend's send, without a call
            self._pieces.append(data)
        else:
            self._write_slowly(data)

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
        if self._is_shut:
            return
        self._is_shut = True
        self._limit = -1
        if self._overflow is None:
            self.loop.backend.shutdown(self._handle)
        if self._peer_ended and not self._end_due:
            self._finish(None)

    @property
    def outbound_buffered(self) -> int:
        """Bytes that were written and that the kernel has not taken yet. gnet: OutboundBuffered."""
        if self._fd == -1:
            return 0
        if self.loop.ident != get_ident():
            raise self._wrong_thread()
        waiting = self._written - self.loop.sent(self._handle)
        return waiting if self._overflow is None else waiting + len(self._overflow)

    @property
    def is_writable(self) -> bool:
        """False from when more than `high_water` bytes wait until `on_writable`, and once closing.

        Writing goes on to work; this is for those who can stop the source, as a proxy can.
        """
        return not self._congested and self._owner != 0

    def _write_slowly(self, data: bytes) -> None:
        """See how many bytes wait: the backend has room for more, or the overflow takes them."""
        if self._is_shut:
            raise self._shut_error()
        loop, size = self.loop, len(data)
        options, room = loop.options, loop.write_room
        # As outbound_buffered: large messages all come by here.
        waiting = self._written - loop.backend.sent[self._handle & INDEX_MASK]
        if self._overflow is not None:
            waiting += len(self._overflow)
        after = waiting + size
        fits = after <= room or (size >= REFERRED_FROM and after <= options.high_water)
        goes_at_once = self._overflow is None and (fits or not waiting)
        is_much = not goes_at_once or after > options.high_water
        if is_much and self._refuses(waiting, size):
            return
        if goes_at_once:
            self._limit = self._written - waiting + room
            self._written += size
            self._targets.append(self._handle)
            self._pieces.append(data)
        else:
            self._overflow_with(data)
        if after > options.high_water:
            if not self._congested:
                self._congested = True
                loop.backend.notify(self._handle)
            self._count_outbound(after)

    def _overflow_with(self, data: bytes) -> None:
        if self._overflow is None:
            self._overflow = LinkedBuffer()
            self._limit = 0  # all that follows goes behind it
            self.loop.backend.notify(self._handle)
        self._overflow.write(data)

    def _refusal(self, waiting: int, more: int) -> BufferLimitExceeded | None:
        """Why no more bytes may wait, if they may not."""
        engine, limit = self.loop.engine, self.loop.options.max_outbound
        if waiting >= limit:
            return BufferLimitExceeded(
                f"{waiting} bytes wait to be sent (max_outbound={limit}): "
                "the peer reads slower than you write"
            )
        if not engine.may_buffer(more):
            return BufferLimitExceeded(
                f"the engine holds {engine.buffered} bytes, and {more} more would pass "
                f"max_buffered={self.loop.options.max_buffered}"
            )
        return None

    def _room_to_write(self, must: bool) -> int:
        """How many bytes may be written now. Where it must be some, 0 is refused as by `write`."""
        if self._owner != get_ident():
            raise self._misuse()
        if self._is_shut:
            raise self._shut_error()
        options, waiting = self.loop.options, self.outbound_buffered
        if self._refusal(waiting, 1) is None:
            in_all = options.max_buffered - self.loop.engine.buffered
            return max(1, min(options.max_outbound - waiting, in_all))
        if must:
            self._refuses(waiting, 1)
        return 0

    @staticmethod
    def _shut_error() -> ConnectionClosed:
        return ConnectionClosed("our side of the connection is ended: shutdown_write was called")

    def _refuses(self, waiting: int, more: int) -> bool:
        """Whether no more bytes may wait, for which the connection was closed; else it raises."""
        error = self._refusal(waiting, more)
        try:
            if error is not None and self.loop.options.outbound_full == "raise":
                raise error
            if error is not None:
                self._end(NOW, error)
            return error is not None
        finally:
            del error  # whose traceback refers to this frame: no cycle

    def _pump(self) -> None:
        """For the reactor: the stage is empty (DRAINED), so give it the next of the overflow."""
        backend, overflow = self.loop.backend, self._overflow
        # Where more was written since that was said, the stage is not empty any more.
        if overflow is not None and self.loop.sent(self._handle) == self._written:
            data = overflow.take(_JOIN_UP_TO)
            self._written += len(data)
            backend.send(self._handle, data)
            if not overflow:
                self._overflow = None
                self._end_after_overflow()
        if self._congested:
            self._see_congestion()
        if self._congested or self._overflow is not None:
            backend.notify(self._handle)

    def _see_congestion(self) -> None:
        """Bring up to date what is counted, and tell the handler when little is left."""
        waiting = self.outbound_buffered
        if waiting > self.loop.options.low_water:
            self._count_outbound(waiting)
            return
        self._congested = False
        self._count_outbound(0)  # as before it was congested
        if self._owner:
            self.loop.call_on_writable(self)

    def _count_outbound(self, waiting: int) -> None:
        self.loop.buffered += waiting - self._counted
        self._counted = waiting

    def _end_after_overflow(self) -> None:
        """An end that was asked for while bytes waited."""
        if self._owner == 0:
            self.loop.backend.close(self._handle, GRACEFUL)
        elif self._is_shut:
            self.loop.backend.shutdown(self._handle)
        else:
            self._limit = 0
