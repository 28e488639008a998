"""The methods of a connection that read. The path of a message is in `stream.py`."""

from __future__ import annotations

from threading import get_ident

from ..buffers.buffer import Sink, check_count, fill, move
from .stream import HELD, PEER_ENDED, SILENT, Stream


class Reading(Stream):
    """The methods of a connection that read; on its reactor's thread."""

    __slots__ = ()

    def peek(self, n: int = -1) -> bytes:
        """Return the next `n` bytes, or all (-1), without consuming them. Raises ShortBuffer.

        gnet: Peek.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if n == -1 and self._inbound is None:
            return self._memory[self._offset : self._offset + self._length]
        return self._front(self._count(n))

    def discard(self, n: int = -1) -> int:
        """Consume `n` bytes, or all (-1), without returning them; returns how many.

        Raises ShortBuffer if there are fewer. gnet: Discard.
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
        """Consume and return up to `n` bytes, or all (-1). gnet: Read."""
        return self.next(n if check_count(n) == -1 else min(n, self.inbound_buffered))

    def readinto(self, target: bytearray | memoryview) -> int:
        """Consume as many bytes as fit into `target`; returns how many. gnet: Read."""
        return fill(self, target, self.inbound_buffered)

    def write_to(self, file: Sink) -> int:
        """Consume everything and write it to `file`; returns how many bytes. gnet: WriteTo.

        Bytes that `file` does not accept stay unread: a raw file may take fewer, or none for now.
        """
        return move(self, file)

    def pause_reading(self) -> None:
        """Stop reading, and calling `on_traffic`, until `resume_reading`.

        What has arrived is kept, and TCP's flow control slows the peer down. The peer's end is
        reported after `resume_reading`. Time limits for reading are suspended meanwhile.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._paused:
            return
        was_reading = not self._marks & HELD  # keeping the rest below may cause it to be held
        self._paused = True
        if self._inbound is None:
            self._keep_leftover()
        if was_reading:
            self._loop.backend.pause(self._handle)

    def resume_reading(self) -> None:
        """Read again; `on_traffic` is soon called for what was kept."""
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
        """Whether bytes are being read: neither paused, nor held by a limit."""
        return not (self._paused or self._marks & HELD)

    @property
    def peer_has_ended(self) -> bool:
        """Whether the peer has ended its side: nothing more will arrive."""
        return self._marks & PEER_ENDED != 0

    # Reading, for the reactor

    @property
    def _is_held(self) -> bool:
        return self._marks & HELD != 0

    def _has_received(self) -> bool:
        """Whether bytes have arrived since the last call."""
        received = self._offset != SILENT
        if not self._length:
            self._offset = SILENT
        return received

    def _release_if_small(self) -> None:
        """The engine has room again: read on, unless this connection has too much itself."""
        if self._marks & HELD and self.inbound_buffered <= self._loop.options.max_inbound:
            self._release_hold()
