"""The elastic ring buffer. gnet: pkg/buffer/elastic.RingBuffer."""

from __future__ import annotations

import mmap
from typing import Final

from .buffer import Buffer, as_bytes

_SMALLEST: Final = 1024  # bytes of a storage
_KEPT: Final = 4096  # bytes of a storage that an empty buffer keeps
_DOUBLED_UP_TO: Final = 1024 * 1024  # bytes; beyond, a storage grows by a quarter
# From this size on a storage is a mapping of its own: a fragmented heap is not returned to the
# system.
_MAPPED_FROM: Final = 8 * 1024
_SHRUNK_FROM: Final = 64 * 1024  # bytes; a larger storage is replaced when little of it is used
_NOTHING: Final = memoryview(bytearray())


class RingBuffer(Buffer):
    """A ring buffer whose storage grows as needed and is freed when empty.

    It suits bytes that are written and consumed in small pieces. It takes at most `limit` bytes.
    """

    __slots__ = ("_size", "_start", "_store")

    def __init__(self, data: bytes = b"", limit: int | None = None) -> None:
        super().__init__(limit)
        self._store = _NOTHING
        self._start = 0
        self._size = 0
        if data:
            self.write(data)

    def __len__(self) -> int:
        return self._size

    @property
    def capacity(self) -> int:
        """Size of the storage in bytes."""
        return len(self._store)

    def write(self, data: bytes) -> int:
        """Append bytes; returns how many. gnet: Write."""
        if type(data) is not bytes:
            data = as_bytes(data)
        count = len(data)
        if self.limit is not None:
            self.check_limit(count)
        size = self._size + count
        if size > len(self._store):
            self._move(_size_for(size))
        store = self._store
        end = self._start + self._size
        if end >= len(store) and store:
            end -= len(store)
        first = min(count, len(store) - end)
        if first == count:
            store[end : end + count] = data
        else:
            store[end:] = data[:first]
            store[: count - first] = data[first:]
        self._size = size
        return count

    def clear(self) -> None:
        """Drop everything and free the storage. gnet: Reset, Done."""
        self._store = _NOTHING
        self._start = self._size = 0

    def _copy(self, count: int) -> bytes:
        store, start = self._store, self._start
        end = start + count
        if end <= len(store):
            return bytes(store[start:end])
        return b"".join((store[start:], store[: end - len(store)]))

    def _drop(self, count: int) -> None:
        self._size -= count
        if self._size == 0:
            self._start = 0
            if len(self._store) > _KEPT:
                self._store = _NOTHING
            return
        self._start += count
        if self._start >= len(self._store):
            self._start -= len(self._store)
        if self._size <= len(self._store) // 8 and len(self._store) >= _SHRUNK_FROM:
            self._move(_size_for(self._size * 2))

    def _move(self, size: int) -> None:
        """Move to a storage of another size; the contents start at its beginning, unwrapped."""
        storage = _storage(size)
        first = min(self._size, len(self._store) - self._start)
        storage[:first] = self._store[self._start : self._start + first]
        storage[first : self._size] = self._store[: self._size - first]
        self._store = storage
        self._start = 0


def _size_for(needed: int) -> int:
    size = _SMALLEST
    while size < needed:
        size += size if size < _DOUBLED_UP_TO else size // 4
    return size


def _storage(size: int) -> memoryview:
    """Zeroed memory, which is freed with the last reference to it."""
    if size >= _MAPPED_FROM and hasattr(mmap, "MAP_PRIVATE"):
        try:
            return memoryview(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        except OSError:
            pass  # the system allows only so many mappings
    return memoryview(bytearray(size))
