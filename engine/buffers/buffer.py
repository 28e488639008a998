"""What the elastic buffers have in common: the ways to read, and what asking for too much gets.

gnet: pkg/buffer. A buffer belongs to one thread. What its methods return as `bytes` is the caller's
own for good.
"""

from __future__ import annotations

import io
from typing import Protocol

from ..base.errors import BufferLimitExceeded, ShortBuffer, shown

_PIECE = 64 * 1024  # bytes that `read_from` asks for at once


class Source(Protocol):
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
        raise TypeError(f"a number of bytes is a whole number, or -1 for all, not {shown(n)}")
    if n < -1:
        raise ValueError(f"a number of bytes is 0 or more, or -1 for all, not {shown(n)}")
    return n


def asked_for(n: int, there: int, hint: str = "") -> int:
    """How many bytes are asked for, checked against what there is. Raises ShortBuffer."""
    if check_count(n) == -1:
        return there
    if n > there:
        raise ShortBuffer(f"{shown(n)} bytes were asked for and {there} are there{hint}")
    return n


def as_bytes(data: object) -> bytes:
    """The bytes, or a copy of them where they could change. Raises TypeError."""
    if type(data) is bytes:
        return data
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(memoryview(data))  # a subclass may have a length of its own
    hint = ": encode it first" if isinstance(data, str) else ""
    raise TypeError(f"only bytes can be written, not {type(data).__name__}{hint}")


def fill(source: Unread, target: bytearray | memoryview, there: int) -> int:
    """Consume what fits into `target`; returns how many bytes."""
    with memoryview(target).cast("B") as view:
        data = source.peek(min(len(view), there))
        view[: len(data)] = data
    return source.discard(len(data))


def move(source: Unread, file: Sink) -> int:
    """Write all of `source` to `file`, and consume what it took; returns how many bytes.

    Each part is consumed as soon as it is written, so that nothing is lost, and nothing written
    twice, when a later one raises.
    """
    data = source.peek()
    done = 0
    while done < len(data):
        count = _write(file, data[done:] if done else data)
        if not count:
            break  # a non-blocking file takes no more for now
        done += source.discard(count)
    return done


def _write(file: Sink, data: bytes) -> int:
    """Write once; returns how many bytes were taken."""
    try:
        count = file.write(data)
    except BlockingIOError as error:  # a buffered file says in it what it has taken
        return int(getattr(error, "characters_written", 0))
    if count is None:
        # Raw files say so that they would block; others (such as a connection) say nothing else.
        return 0 if isinstance(file, io.RawIOBase) else len(data)
    return count if isinstance(count, int) and 0 <= count <= len(data) else len(data)


class Buffer:
    """Bytes in a row: written at the end, consumed at the front."""

    __slots__ = ("limit",)

    def __init__(self, limit: int | None = None) -> None:
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise ValueError(f"limit is a number of bytes, or None for no bound, not {limit!r}")
        self.limit = limit

    # What each buffer does in its own way

    def __len__(self) -> int:
        raise NotImplementedError

    def write(self, data: bytes) -> int:
        """Put bytes at the end; returns how many. Raises BufferLimitExceeded, and takes none."""
        raise NotImplementedError

    def clear(self) -> None:
        """Drop everything and give the memory back."""
        raise NotImplementedError

    def _copy(self, count: int) -> bytes:
        """The first `count` bytes, which are there."""
        raise NotImplementedError

    def _drop(self, count: int) -> None:
        """Consume `count` bytes, which are there."""
        raise NotImplementedError

    # What all do in the same way

    def peek(self, n: int = -1) -> bytes:
        """The next `n` bytes, or all (-1), not consumed. Raises ShortBuffer. gnet: Peek."""
        return self._copy(asked_for(n, len(self)))

    def next(self, n: int = -1) -> bytes:
        """Consume `n` bytes, or all (-1). Raises ShortBuffer, and consumes none. gnet: Next."""
        count = asked_for(n, len(self))
        data = self._copy(count)
        self._drop(count)
        return data

    def discard(self, n: int = -1) -> int:
        """Consume `n` bytes, or all (-1), unseen; returns how many. Raises ShortBuffer.

        gnet: Discard.
        """
        count = asked_for(n, len(self))
        self._drop(count)
        return count

    def read(self, n: int = -1) -> bytes:
        """Consume at most `n` bytes (-1: all); fewer where there are fewer. gnet: Read."""
        return self.next(n if check_count(n) == -1 else min(n, len(self)))

    def readinto(self, target: bytearray | memoryview) -> int:
        """Consume what fits into `target`; returns how many bytes. gnet: Read."""
        return fill(self, target, len(self))

    def read_from(self, file: Source) -> int:
        """Write what `file` has until its end; returns how many bytes. gnet: ReadFrom.

        No more is read of `file` than `limit` leaves room for. Raises BufferLimitExceeded where
        there is none at all.
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
        """Consume all there is and write it to `file`; returns how many bytes. gnet: WriteTo.

        What `file` does not take is not consumed.
        """
        return move(self, file)

    def check_limit(self, more: int) -> None:
        """Raise BufferLimitExceeded where so many bytes more would pass `limit`."""
        if self.limit is not None and len(self) + more > self.limit:
            raise BufferLimitExceeded(
                f"{len(self)} bytes are there and {more} more would pass limit={self.limit}"
            )
