"""The reading half of a connection.

What has arrived is the chunk in the receive buffer (`_memory[_offset : _offset + _length]`), or the
elastic buffer `_inbound` with what was left of earlier ones; never both.
"""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING

from .buffer import Sink, check_count, move
from .errors import BufferLimitExceeded, ShortBuffer, shown
from .leftovers import REFERRED_FROM, Leftovers
from .ring_buffer import RingBuffer

if TYPE_CHECKING:
    from .backend import Memory
    from .deadlines import Deadlines
    from .owner import Owner

NOTHING = RingBuffer()  # what is inbound once a connection is closing
# The offset of a connection that no byte has reached since somebody looked: beyond all memory, so
# that a slice from there is empty. Whatever arrives overwrites it, which costs nothing more.
SILENT = 1 << 62


class Inbound:
    """The part of a connection that reads; on its reactor's thread."""

    __slots__ = ("_held", "_inbound", "_length", "_memory", "_offset", "_paused")

    _held: bool  # reading rests because too much is left unread
    _inbound: RingBuffer | Leftovers | None
    _length: int
    _memory: Memory
    _offset: int
    _paused: bool  # by the handler

    if TYPE_CHECKING:  # what Connection has
        loop: Owner
        _deadlines: Deadlines | None
        _handle: int
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
                self._length = 0  # the offset stays: SILENT goes on to say that nothing came
                return self._memory[offset : offset + length]
            if 0 <= n < length:
                data = self._memory[offset : offset + n]  # first: it raises for what is no int
                self._offset = offset + n
                self._length = length - n
                return data
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
        return self.next(n if check_count(n) == -1 else min(n, self.inbound_buffered))

    def readinto(self, target: bytearray | memoryview) -> int:
        """Consume what fits into `target`; returns how many bytes. gnet: Read."""
        with memoryview(target).cast("B") as view:
            data = self.peek(min(len(view), self.inbound_buffered))
            view[: len(data)] = data
        return self.discard(len(data))

    def write_to(self, file: Sink) -> int:
        """Consume all there is and write it to `file`; returns how many bytes. gnet: WriteTo.

        What `file` does not take stays unread: a raw file may take less, or nothing for now.
        """
        return move(self, file)

    def pause_reading(self) -> None:
        """Read no more, and have no `on_traffic`, until `resume_reading`.

        What has arrived is kept, and the peer is slowed down by TCP's flow control. The peer's end
        is told after `resume_reading`; a time limit for reading does not run meanwhile.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._paused:
            return
        was_reading = not self._held  # it may be held by what is kept now
        self._paused = True
        if self._inbound is None:
            self._keep_leftover()
        if was_reading:
            self.loop.backend.pause(self._handle)

    def resume_reading(self) -> None:
        """Read again; for what was kept, `on_traffic` is called soon."""
        if self._owner != get_ident():
            raise self._misuse()
        if not self._paused:
            return
        self._paused = False
        if not self._held:
            self._read_again()
        self.loop.call_again(self)

    @property
    def is_reading(self) -> bool:
        """Whether bytes are read: neither paused, nor held by `max_inbound`."""
        return not (self._paused or self._held)

    @property
    def inbound_buffered(self) -> int:
        """Bytes that can be consumed now. gnet: InboundBuffered."""
        return self._length if self._inbound is None else len(self._inbound)

    def _count(self, n: int) -> int:
        """How many bytes are asked for, checked against what there is."""
        there = self.inbound_buffered
        if check_count(n) == -1:
            return there
        if n > there:
            raise ShortBuffer(
                f"{shown(n)} bytes were asked for and {there} are there: wait for more"
            )
        return n

    def _look(self, count: int) -> bytes:
        if self._inbound is not None:
            return self._inbound.peek(count)
        return self._memory[self._offset : self._offset + count]

    def _drop(self, count: int) -> None:
        if self._inbound is None:
            self._offset += count
            self._length -= count
        else:
            self._inbound.discard(count)
            self.loop.buffered -= count
            if not self._inbound and not self._paused:
                self._inbound = None
            if self._held and self.inbound_buffered <= self.loop.options.max_inbound // 2:
                self._let_go()

    # Reading, for the reactor

    def _keep_leftover(self) -> None:
        """Copy what the handler left, before the receive buffer is given back."""
        offset, length = self._offset, self._length
        self._length = 0
        self._inbound = RingBuffer()
        if length:  # else it costs nobody anything, however much the others hold
            self._put(self._memory[offset : offset + length])
            self._check_inbound(length)

    def _append(self, offset: int, length: int) -> bool:
        """Put what arrived behind what was left; whether the handler is to be called."""
        if self._owner == 0:
            return False
        self._put(self._memory[offset : offset + length])
        self._offset = 0  # no longer SILENT
        self._check_inbound(length)
        return self._owner != 0 and not self._paused

    def _put(self, data: bytes) -> None:
        """Keep a piece: a large one as it is, as long as the heap may have so much."""
        inbound = self._inbound
        assert inbound is not None
        if len(data) < REFERRED_FROM or self.loop.buffered >= self.loop.options.kept_memory:
            inbound.write(data)
            return
        if isinstance(inbound, RingBuffer):
            ring, inbound = inbound, Leftovers()
            inbound.take_over(ring)
            self._inbound = inbound
        inbound.refer(data)

    def _check_inbound(self, more: int) -> None:
        """`more` bytes were kept: count them, and see to the bounds."""
        loop, options = self.loop, self.loop.options
        loop.buffered += more
        if self.inbound_buffered > options.max_inbound:
            self._too_much(f"more than max_inbound={options.max_inbound} bytes were left unread")
            if self._held:
                loop.held.add(self, is_full=True)
        elif loop.buffered > loop.buffer_share and not loop.engine.may_buffer(0):
            self._too_much(f"the engine holds max_buffered={options.max_buffered} bytes already")
            if self._held:
                loop.held.add(self)

    def _too_much(self, why: str) -> None:
        if self.loop.options.inbound_full == "close":
            self._fail(BufferLimitExceeded(why))
        elif not self._held and self.loop.held.may_hold(self):
            self._held = True
            if not self._paused:
                self.loop.backend.pause(self._handle)

    def _heard_something(self) -> bool:
        """Whether bytes have arrived since this was last asked."""
        heard = self._offset != SILENT
        if not self._length:
            self._offset = SILENT
        return heard

    def _forget_inbound(self) -> None:
        """The connection is closing: what was not read is dropped, as is what still comes."""
        if self._inbound is not None:
            self.loop.buffered -= len(self._inbound)
        if self.loop.held:
            self.loop.held.forget(self)
        self._inbound = NOTHING
        self._length = 0

    def _go_on(self) -> None:
        """The engine has room again; it may still hold too much itself."""
        if self._held and self.inbound_buffered <= self.loop.options.max_inbound:
            self._let_go()

    def _let_go(self) -> None:
        if not self._paused:
            self._read_again()  # first: there may be no memory for it
        self._held = False
        self.loop.held.discard(self)

    def _read_again(self) -> None:
        self.loop.backend.resume(self._handle)
        if self._deadlines is not None:
            self._deadlines.read_again()
