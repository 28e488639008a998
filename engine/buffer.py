"""Elastic buffers. Both are empty most of the time, so a connection has one only when it needs it.

Inbound, the bytes that a handler left; outbound, the bytes that the backend's stage had no room
for. Each knows its size; its bound is the connection's business.
"""

from __future__ import annotations

from collections import deque


class ElasticBuffer:
    """Bytes in a row that grow at the end and are consumed at the front."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = bytearray(data)

    def __len__(self) -> int:
        return len(self._data)

    def append(self, data: bytes) -> None:
        self._data += data

    def peek(self, count: int) -> bytes:
        """A copy of the first `count` bytes (of all, if there are fewer)."""
        if count >= len(self._data):
            return bytes(self._data)
        return bytes(self._data[:count])

    def discard(self, count: int) -> None:
        """Drop the first `count` bytes: a bytearray moves its start and copies nothing."""
        del self._data[:count]

    def take(self, count: int) -> bytes:
        """`peek` and `discard` in one."""
        data = self.peek(count)
        self.discard(count)
        return data


class ChunkQueue:
    """Pieces of bytes in order, by reference: what is appended is not copied."""

    __slots__ = ("_chunks", "size")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self.size = 0  # bytes in all

    def append(self, data: bytes) -> None:
        if data:
            self._chunks.append(data)
            self.size += len(data)

    def take(self, goal: int) -> bytes:
        """The next piece: a large one as it is, small ones joined up to about `goal` bytes."""
        chunks = self._chunks
        first = chunks.popleft()
        if len(first) >= goal or not chunks:
            self.size -= len(first)
            return first
        parts = [first]
        total = len(first)
        while chunks and total + len(chunks[0]) <= goal:
            total += len(chunks[0])
            parts.append(chunks.popleft())
        self.size -= total
        return b"".join(parts)
