"""The mixed buffer: a bounded ring, and a list for the overflow.

gnet: pkg/buffer/elastic.Buffer.
"""

from __future__ import annotations

from .buffer import Buffer, as_bytes
from .linked_buffer import LinkedBuffer
from .ring_buffer import RingBuffer


class MixedBuffer(Buffer):
    """A ring of at most `ring_bytes` for small pieces; what does not fit is kept by reference.

    So many small writes share one storage, and large ones are not copied. Once there are pieces by
    reference, everything written later goes behind them. It takes at most `limit` bytes in all.
    """

    __slots__ = ("_list", "_ring", "_ring_bytes")

    def __init__(self, ring_bytes: int = 64 * 1024, limit: int | None = None) -> None:
        super().__init__(limit)
        if not isinstance(ring_bytes, int) or ring_bytes < 0:
            raise ValueError(f"ring_bytes must be a number of bytes, not {ring_bytes!r}")
        self._ring_bytes = ring_bytes
        self._ring = RingBuffer()
        self._list = LinkedBuffer()

    def __len__(self) -> int:
        return len(self._ring) + len(self._list)

    def write(self, data: bytes) -> int:
        """Append bytes; returns how many. gnet: Write."""
        if type(data) is not bytes:
            data = as_bytes(data)
        if self.limit is not None:
            self.check_limit(len(data))
        if self._list or len(self._ring) + len(data) > self._ring_bytes:
            return self._list.write(data)
        return self._ring.write(data)

    def clear(self) -> None:
        """Drop everything and free the memory. gnet: Reset, Release."""
        self._ring.clear()
        self._list.clear()

    def _copy(self, count: int) -> bytes:
        first = min(count, len(self._ring))
        data = self._ring.peek(first)
        return data if first == count else data + self._list.peek(count - first)

    def _drop(self, count: int) -> None:
        first = min(count, len(self._ring))
        self._ring.discard(first)
        self._list.discard(count - first)
