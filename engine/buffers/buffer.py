"""What the elastic buffers have in common: the methods that read, and their errors.

gnet: pkg/buffer. A buffer belongs to one thread. The `bytes` that its methods return are the
caller's own, and never change.
"""

from __future__ import annotations

import io
from typing import Protocol

from ..base.errors import BufferLimitExceeded, ShortBuffer, shown

_PIECE = 64 * 1024  # bytes that `read_from` requests at once


class Readable(Protocol):
    """A file that `read_from` reads."""

    def read(self, size: int, /) -> bytes: ...


class Sink(Protocol):
    """A file that `write_to` writes."""

    def write(self, data: bytes, /) -> object: ...


class Unread(Protocol):
    """Bytes that can be looked at and then consumed."""

    def peek(self, n: int = -1, /) -> bytes: ...
    def discard(self, n: int, /) -> int: ...


def check_count(n: int) -> int:
    """Raise TypeError or ValueError unless it is a number of bytes, or -1 for all."""
    if not isinstance(n, int):
        raise TypeError(f"a number of bytes must be an int, or -1 for all, not {shown(n)}")
    if n < -1:
        raise ValueError(f"a number of bytes must be 0 or more, or -1 for all, not {shown(n)}")
    return n


def asked_for(n: int, there: int, hint: str = "") -> int:
    """How many bytes are requested, checked against how many there are. Raises ShortBuffer."""
    if check_count(n) == -1:
        return there
    if n > there:
        raise ShortBuffer(f"{shown(n)} bytes requested, but {there} available{hint}")
    return n


def as_bytes(data: object) -> bytes:
    """The bytes themselves, or a copy if they could change. Raises TypeError."""
    if type(data) is bytes:
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(memoryview(data))  # a subclass may have a length of its own
    hint = ": encode it first" if isinstance(data, str) else ""
    raise TypeError(f"only bytes can be written, not {type(data).__name__}{hint}")


def fill(source: Unread, target: bytearray | memoryview, there: int) -> int:
    """Consume as many bytes as fit into `target`; returns how many."""
    with memoryview(target).cast("B") as view:
        data = source.peek(min(len(view), there))
        view[: len(data)] = data
    return source.discard(len(data))


def move(source: Unread, file: Sink) -> int:
    """Write all of `source` to `file`, and consume what it accepted; returns how many bytes.

    Each part is consumed as soon as it is written, so that nothing is lost or written twice when a
    later part raises.
    """
    data = source.peek()
    done = 0
    while done < len(data):
        count = _write(file, data[done:] if done else data)
        if not count:
            break  # a non-blocking file accepts no more for now
        done += source.discard(count)
    return done


def _write(file: Sink, data: bytes) -> int:
    """Write once; returns how many bytes were accepted."""
    try:
        count = file.write(data)
    except BlockingIOError as error:  # a buffered file reports in it what it has accepted
        return int(getattr(error, "characters_written", 0))
    if count is None:
        # From a raw file, None means that it would block; others (a connection) return only None.
        return 0 if isinstance(file, io.RawIOBase) else len(data)
    return count if isinstance(count, int) and 0 <= count <= len(data) else len(data)


class Buffer:
    """A queue of bytes: written at the end, consumed at the front."""

    __slots__ = ("limit",)

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise ValueError(f"limit must be a number of bytes, or None, not {limit!r}")
        self.limit = limit

    # What each buffer implements

    def __len__(self) -> int:
        raise NotImplementedError

    def write(self, data: bytes) -> int:
        """Append bytes; returns how many. Raises BufferLimitExceeded, and then appends none."""
        raise NotImplementedError

    def clear(self) -> None:
        """Drop everything and free the memory."""
        raise NotImplementedError

    def _copy(self, count: int) -> bytes:
        """The first `count` bytes; the buffer has at least that many."""
        raise NotImplementedError

    def _drop(self, count: int) -> None:
        """Consume `count` bytes; the buffer has at least that many."""
        raise NotImplementedError

    # What they share

    def peek(self, n: int = -1) -> bytes:
        """Return `n` bytes, or all (-1), without consuming them. Raises ShortBuffer. gnet: Peek."""
        return self._copy(asked_for(n, len(self)))

    def next(self, n: int = -1) -> bytes:
        """Consume and return `n` bytes, or all (-1). Raises ShortBuffer, and then consumes none.

        gnet: Next.
        """
        count = asked_for(n, len(self))
        data = self._copy(count)
        self._drop(count)
        return data

    def discard(self, n: int = -1) -> int:
        """Consume `n` bytes, or all (-1), without returning them; returns how many.

        Raises ShortBuffer. gnet: Discard.
        """
        count = asked_for(n, len(self))
        self._drop(count)
        return count

    def read(self, n: int = -1) -> bytes:
        """Consume and return up to `n` bytes, or all (-1). gnet: Read."""
        return self.next(n if check_count(n) == -1 else min(n, len(self)))

    def readinto(self, target: bytearray | memoryview) -> int:
        """Consume as many bytes as fit into `target`; returns how many. gnet: Read."""
        return fill(self, target, len(self))

    def read_from(self, file: Readable) -> int:
        """Append the contents of `file` until its end; returns how many bytes. gnet: ReadFrom.

        No more is read from `file` than `limit` leaves room for. Raises BufferLimitExceeded if
        there is no room at all.
        """
        total = 0
        while room := _PIECE if self.limit is None else min(_PIECE, self.limit - len(self)):
            data = file.read(room)
            if not data:
                return total
            total += self.write(data)
        if not total:
            self.check_limit(1)
        return total

    def write_to(self, file: Sink) -> int:
        """Consume everything and write it to `file`; returns how many bytes. gnet: WriteTo.

        Bytes that `file` does not accept are not consumed.
        """
        return move(self, file)

    def check_limit(self, more: int) -> None:
        """Raise BufferLimitExceeded if `more` bytes would exceed `limit`."""
        if self.limit is not None and len(self) + more > self.limit:
            raise BufferLimitExceeded(
                f"the buffer has {len(self)} bytes; {more} more would exceed limit={self.limit}"
            )
