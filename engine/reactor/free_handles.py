"""Handles: which indices are free, and their generations.

A reactor chooses the handles of its operations (see `completion.py`). An index is returned only
after the final event of its handle, so an event can never be mistaken for another handle's.
"""

from __future__ import annotations

from array import array
from typing import Protocol

from ...completion import GENERATION_MASK, INDEX_BITS, INDEX_MASK


class HandleOwner(Protocol):
    """A part of a reactor that has handles: dials, listeners, datagram sockets.

    Connections are in a table of their own, which the path of a message reads.
    """

    def on_error(self, handle: int, result: int, /) -> None: ...
    def on_closed(self, handle: int, /) -> None: ...
    def on_lost(self, handle: int, kind: int, error: BaseException, /) -> None: ...


class HasHandles(Protocol):
    """A reactor, as the source of handles for its parts."""

    owners: dict[int, HandleOwner]

    def take_handle(self) -> int | None: ...
    def give_back_handle(self, handle: int) -> None: ...


class Handles:
    """At most `capacity` handles at once; on one thread."""

    __slots__ = ("_capacity", "_free", "_generations")

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._free: list[int] = []
        self._generations = array("L")  # grows with use, so that few connections need few bytes

    def take(self) -> int | None:
        """A handle, or None if all are in use. The index returned last is reused first."""
        if self._free:
            index = self._free.pop()
        elif len(self._generations) < self._capacity:
            index = len(self._generations)
            self._generations.append(0)
        else:
            return None
        generation = self._generations[index] % GENERATION_MASK + 1
        self._generations[index] = generation
        return generation << INDEX_BITS | index

    def give_back(self, handle: int) -> None:
        """Return a handle after its final event."""
        self._free.append(handle & INDEX_MASK)
