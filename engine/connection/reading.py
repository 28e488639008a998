"""What a connection offers to read with. The path of a message is in `stream.py`."""

from __future__ import annotations

from threading import get_ident

from ..buffers.buffer import Sink, check_count, fill, move
from .stream import HELD, PEER_ENDED, SILENT, Stream


class Reading(Stream):
    """The part of a connection that reads; on its reactor's thread."""

    __slots__ = ()

    def peek(self, n: int = -1) -> bytes:
        """The next `n` bytes, or all (-1), without consuming them. Raises ShortBuffer.

        gnet: Peek.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if n == -1 and self._inbound is None:
            return self._memory[self._offset : self._offset + self._length]
        return self._front(self._count(n))

    def discard(self, n: int = -1) -> int:
        """Consume `n` bytes, or all (-1), without looking at them; returns how many.

        Raises ShortBuffer where there are fewer. gnet: Discard.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._inbound is None and (n == -1 or n == self._length):
            count, self._length = self._length, 0
            return count
        count = self._count(n)
        self._drop(count)
        return count

    def read(self, n: int = -1) -> bytes:
        """Consume at most `n` bytes (-1: all); fewer where there are fewer. gnet: Read."""
        return self.next(n if check_count(n) == -1 else min(n, self.inbound_buffered))

    def readinto(self, target: bytearray | memoryview) -> int:
        """Consume what fits into `target`; returns how many bytes. gnet: Read."""
        return fill(self, target, self.inbound_buffered)

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
        was_reading = not self._marks & HELD  # it may be held by what is kept now
        self._paused = True
        if self._inbound is None:
            self._keep_leftover()
        if was_reading:
            self._loop.backend.pause(self._handle)

    def resume_reading(self) -> None:
        """Read again; for what was kept, `on_traffic` is called soon."""
        if self._owner != get_ident():
            raise self._misuse()
        if not self._paused:
            return
        self._paused = False
        if not self._marks & HELD:
            self._read_again()
        self._loop.call_again(self)

    @property
    def is_reading(self) -> bool:
        """Whether bytes are read: neither paused, nor held by `max_inbound`."""
        return not (self._paused or self._marks & HELD)

    @property
    def peer_has_ended(self) -> bool:
        """Whether the peer has ended its side: nothing more arrives."""
        return self._marks & PEER_ENDED != 0

    # Reading, for the reactor

    @property
    def _is_held(self) -> bool:
        return self._marks & HELD != 0

    def _has_received(self) -> bool:
        """Whether bytes have arrived since this was last asked."""
        heard = self._offset != SILENT
        if not self._length:
            self._offset = SILENT
        return heard

    def _release_if_small(self) -> None:
        """The engine has room again; it may still hold too much itself."""
        if self._marks & HELD and self.inbound_buffered <= self._loop.options.max_inbound:
            self._release_hold()
