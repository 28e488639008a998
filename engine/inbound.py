"""The reading half of a connection.

What has arrived is the chunk in the receive buffer (`_memory[_offset : _offset + _length]`), or the
elastic buffer `_inbound` with what was left of earlier ones; never both.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Protocol

from .errors import BufferLimitExceeded, ShortBuffer
from .ring_buffer import RingBuffer

if TYPE_CHECKING:
    from .backend import Memory
    from .reactor import Reactor

NOTHING = RingBuffer()  # what is inbound once a connection is closing


class Writable(Protocol):
    """A file that `write_to` writes."""

    def write(self, data: bytes, /) -> object: ...


class Inbound:
    """The part of a connection that reads; on its reactor's thread."""

    __slots__ = ("_inbound", "_length", "_memory", "_offset")

    _inbound: RingBuffer | None
    _length: int
    _memory: Memory
    _offset: int

    if TYPE_CHECKING:  # what Connection has
        loop: Reactor
        _owner: int

        def _fail(self, error: Exception) -> None: ...
        def _misuse(self) -> Exception: ...

    def next(self, n: int = -1) -> bytes:
        """Consume `n` bytes, or all there are (-1). Raises ShortBuffer where there are fewer.

        gnet: Next.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._inbound is None:
            length = self._length
            offset = self._offset
            if n == -1 or n == length:
                self._length = 0
                return self._memory[offset : offset + length]
            if 0 <= n < length:
                self._offset = offset + n
                self._length = length - n
                return self._memory[offset : offset + n]
        count = self._count(n)
        data = self._look(count)
        self._drop(count)
        return data

    def peek(self, n: int = -1) -> bytes:
        """The next `n` bytes, or all (-1), without consuming them. Raises ShortBuffer.

        gnet: Peek.
        """
        if self._owner != get_ident():
            raise self._misuse()
        return self._look(self._count(n))

    def discard(self, n: int = -1) -> int:
        """Consume `n` bytes, or all (-1), without looking at them; returns how many.

        Raises ShortBuffer where there are fewer. gnet: Discard.
        """
        if self._owner != get_ident():
            raise self._misuse()
        count = self._count(n)
        self._drop(count)
        return count

    def read(self, n: int = -1) -> bytes:
        """Consume at most `n` bytes (-1: all); fewer where there are fewer. gnet: Read."""
        return self.next(n if n < 0 else min(n, self.inbound_buffered))

    def readinto(self, target: bytearray | memoryview) -> int:
        """Consume what fits into `target`; returns how many bytes. gnet: Read."""
        with memoryview(target).cast("B") as view:
            data = self.peek(min(len(view), self.inbound_buffered))
            view[: len(data)] = data
        return self.discard(len(data))

    def write_to(self, file: Writable) -> int:
        """Consume all there is and write it to `file`; returns how many bytes. gnet: WriteTo."""
        data = self.peek()
        file.write(data)  # where it raises, nothing is consumed
        return self.discard(len(data))

    @property
    def inbound_buffered(self) -> int:
        """Bytes that can be consumed now. gnet: InboundBuffered."""
        return self._length if self._inbound is None else len(self._inbound)

    def _count(self, n: int) -> int:
        """How many bytes are asked for, checked against what there is."""
        there = self.inbound_buffered
        if n == -1:
            return there
        if n < 0:
            raise ValueError(f"a number of bytes is 0 or more, or -1 for all, not {n}")
        if n > there:
            raise ShortBuffer(f"{n} bytes were asked for and {there} are there: wait for more")
        return n

    def _look(self, count: int) -> bytes:
        if self._inbound is not None:
            return self._inbound.peek(count)
        return self._memory[self._offset : self._offset + count]

    def _drop(self, count: int) -> None:
        if self._inbound is None:
            self._offset += count
            self._length -= count
        elif count == len(self._inbound):
            self._inbound = None
        else:
            self._inbound.discard(count)

    # Reading, for the reactor

    def _keep_leftover(self) -> None:
        """Copy what the handler left, before the receive buffer is given back."""
        offset, length = self._offset, self._length
        self._length = 0
        self._inbound = RingBuffer(self._memory[offset : offset + length])
        self._check_inbound()

    def _append(self, offset: int, length: int) -> None:
        """Put what arrived behind what was left."""
        assert self._inbound is not None
        self._inbound.write(self._memory[offset : offset + length])
        self._check_inbound()

    def _check_inbound(self) -> None:
        limit = self.loop.options.max_inbound
        if self._inbound is not None and len(self._inbound) > limit:
            self._fail(BufferLimitExceeded(f"more than max_inbound={limit} bytes were left unread"))
