"""The linked-list buffer: pieces by reference. gnet: pkg/buffer/linkedlist.Buffer."""

from __future__ import annotations

from collections import deque
from itertools import islice

from .buffer import Buffer, as_bytes, asked_for


class LinkedBuffer(Buffer):
    """A list of pieces. `bytes` that are written are kept by reference, not copied.

    It suits large outgoing pieces. It takes at most `limit` bytes.
    """

    __slots__ = ("_offset", "_pieces", "_size")

    def __init__(self, limit: int | None = None) -> None:
        super().__init__(limit)
        self._pieces: deque[bytes] = deque()
        self._offset = 0  # bytes of the first piece that are consumed
        self._size = 0

    def __len__(self) -> int:
        return self._size

    @property
    def pieces(self) -> int:
        """How many pieces there are."""
        return len(self._pieces)

    def write(self, data: bytes) -> int:
        """Append a piece; returns how many bytes. gnet: PushBack."""
        if type(data) is not bytes:
            data = as_bytes(data)
        count = len(data)
        if self.limit is not None:
            self.check_limit(count)
        if count:
            size = self._size + count
            self._pieces.append(data)
            self._size = size
        return count

    def write_front(self, data: bytes) -> int:
        """Insert a piece at the front; returns how many bytes. gnet: PushFront."""
        data = as_bytes(data)
        if self.limit is not None:
            self.check_limit(len(data))
        if self._offset:
            self._pieces[0] = self._pieces[0][self._offset :]
            self._offset = 0
        if data:
            size = self._size + len(data)
            self._pieces.appendleft(data)
            self._size = size
        return len(data)

    def peek_pieces(self, n: int = -1) -> list[bytes]:
        """The next `n` bytes, or all (-1), in the pieces that were written, for a vectored write.

        Raises ShortBuffer. gnet: Peek.
        """
        count = asked_for(n, len(self))
        found: list[bytes] = []
        start = self._offset
        for piece in self._pieces:
            if not count:
                break
            part = piece if not start and len(piece) <= count else piece[start : start + count]
            found.append(part)
            count -= len(part)
            start = 0
        return found

    def take(self, goal: int) -> bytes:
        """Consume the next piece; small ones are joined up to about `goal` bytes.

        Returns b"" if there is none. gnet: Pop.
        """
        if not self._pieces:
            return b""
        count = len(self._pieces[0]) - self._offset
        for piece in islice(self._pieces, 1, None):
            if count + len(piece) > goal:
                break
            count += len(piece)
        return self.next(count)

    def clear(self) -> None:
        """Drop everything. gnet: Reset."""
        self._pieces.clear()
        self._offset = self._size = 0

    def _copy(self, count: int) -> bytes:
        pieces = self.peek_pieces(count)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _drop(self, count: int) -> None:
        self._size -= count
        count += self._offset
        pieces = self._pieces
        while pieces and count >= len(pieces[0]):
            count -= len(pieces.popleft())
        self._offset = count
