"""The unread bytes of a connection, if some of them came in large pieces."""

from __future__ import annotations

from collections import deque
from typing import Final

from .buffer import Buffer
from .ring_buffer import RingBuffer

KEPT_WHOLE_FROM: Final = 16 * 1024  # bytes of a piece that is kept as it is
_SHRUNK_AT: Final = 8  # once only 1/8 of a piece is left, a copy replaces it


class Leftovers(Buffer):
    """A queue of large pieces by reference, with the small ones between them in ring buffers.

    Large pieces are neither copied nor need new memory, and many small pieces share one storage.
    """

    __slots__ = ("_pieces", "_size", "_start")

    def __init__(self) -> None:
        super().__init__()
        self._pieces: deque[bytes | RingBuffer] = deque()
        self._start = 0  # bytes of the first piece that are consumed, if it is `bytes`
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def refer(self, piece: bytes) -> None:
        """Append a large piece by reference."""
        size = self._size + len(piece)
        self._pieces.append(piece)
        self._size = size

    def take_over(self, ring: RingBuffer) -> None:
        """Append a ring buffer, which belongs to this buffer from now on."""
        if ring:
            size = self._size + len(ring)
            self._pieces.append(ring)
            self._size = size

    def write(self, data: bytes) -> int:
        """Append a copy of a piece; returns how many bytes."""
        if data:
            size = self._size + len(data)
            last = self._pieces[-1] if self._pieces else None
            if isinstance(last, RingBuffer):
                last.write(data)
            else:
                self._pieces.append(RingBuffer(data))
            self._size = size
        return len(data)

    def clear(self) -> None:
        """Drop everything and free the memory."""
        self._pieces.clear()
        self._start = self._size = 0

    def _copy(self, count: int) -> bytes:
        parts: list[bytes] = []
        start = self._start
        for piece in self._pieces:
            if not count:
                break
            if isinstance(piece, RingBuffer):
                part = piece.peek(min(count, len(piece)))
            else:
                part = piece[start : start + count]  # the piece itself if the slice covers it
            parts.append(part)
            count -= len(part)
            start = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _drop(self, count: int) -> None:
        self._size -= count
        pieces = self._pieces
        while count:
            first = pieces[0]
            there = len(first) - self._start
            if count >= there:
                pieces.popleft()
                self._start = 0
                count -= there
            elif isinstance(first, RingBuffer):
                first.discard(count)
                return
            else:
                self._start += count
                self._shrink(first)
                return

    def _shrink(self, first: bytes) -> None:
        """Replace a piece of which little is left, so that a few bytes do not keep many alive."""
        left = len(first) - self._start
        if len(first) >= KEPT_WHOLE_FROM and left <= len(first) // _SHRUNK_AT:
            self._pieces[0] = first[self._start :]
            self._start = 0
