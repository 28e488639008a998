"""What is to be sent in a turn, and the memory of it that the kernel still reads.

The law of this file: bytes are not copied on their way to the kernel. The core is told where they
are, and the objects are kept until it has no more use for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from struct import Struct
from typing import Any, Final

from ._ring import ffi, lib

_AT_ONCE: Final = 256  # pieces in one command; so many packers there are at most
_SIZE: Final = Struct("q").pack


def _layout_of_bytes() -> tuple[int, int] | None:
    """Where a `bytes` object has its size and its bytes, from the address that `id` gives.

    So it is in CPython (Include/cpython/bytesobject.h); whether it is so here is tried.
    """
    if sys.implementation.name != "cpython":
        return None
    bytes_at = bytes.__basicsize__ - 1  # without the zero at the end
    size_at = bytes_at - 16  # before the hash
    probe = bytes(range(123))
    address = int(ffi.cast("intptr_t", ffi.from_buffer(probe)))
    if address != id(probe) + bytes_at:
        return None
    size = ffi.cast("int64_t *", id(probe) + size_at)[0]
    return (size_at, bytes_at) if size == len(probe) else None


_LAYOUT: Final = _layout_of_bytes()
_SIZE_AT, _BYTES_AT = _LAYOUT or (0, 8)
_WHERE: Final = _BYTES_AT << 32 | _SIZE_AT


def _copied(pieces: list[bytes]) -> tuple[list[int], Any]:
    """The addresses of copies that have their size before them, and what keeps them in place."""
    addresses = []
    parts: list[bytes] = []
    end = 0
    for piece in pieces:
        gap = bytes(-len(piece) % 8)
        parts += (_SIZE(len(piece)), piece, gap)
        addresses.append(end)
        end += 8 + len(piece) + len(gap)
    block = ffi.from_buffer(b"".join(parts))
    start = int(ffi.cast("intptr_t", block))
    return [start + offset for offset in addresses], block


class Outbox:
    """The list of those who send in this turn, and that of what they send."""

    def __init__(self) -> None:
        self.handles: list[int] = []
        self.pieces: list[bytes] = []
        self._packers: dict[int, Callable[..., bytes]] = {}
        self._lent: list[tuple[list[int] | None, list[Any]]] = []  # in this turn
        self.pins: dict[int, list[Any]] = {}  # what is kept beyond its turn, by its address

    def take(self) -> list[bytes]:
        """Make it commands, and begin anew."""
        handles, pieces = self.handles, self.pieces
        commands = []
        while handles:
            commands.append(self._command(handles[:_AT_ONCE], pieces[:_AT_ONCE]))
            del handles[:_AT_ONCE], pieces[:_AT_ONCE]
        return commands

    def _command(self, handles: list[int], pieces: list[bytes]) -> bytes:
        count = len(handles)
        pack = self._packers.get(count)
        if pack is None:
            pack = self._packers[count] = Struct(f"{3 + 2 * count}q").pack
        if _LAYOUT is None:
            addresses, block = _copied(pieces)
            self._lent.append((addresses, [block] * count))
            return pack(lib.RN_SENDS, count, _WHERE, *handles, *addresses)
        self._lent.append((None, pieces))
        return pack(lib.RN_SENDS, count, _WHERE, *handles, *map(id, pieces))

    def settle(self, shared: Any) -> None:
        """The turn is over: keep what the core still reads, and no more."""
        if shared.pinned_count:
            lent = self._lent_by_address()
            for start in ffi.unpack(shared.pinned, shared.pinned_count):
                self.pins.setdefault(start, []).append(lent[start])
        self._lent.clear()
        if self.pins and shared.released_count:
            for start in ffi.unpack(shared.released, shared.released_count):
                kept = self.pins[start]
                kept.pop()  # the same bytes may be sent several times
                if not kept:
                    del self.pins[start]

    def _lent_by_address(self) -> dict[int, Any]:
        """What was lent in this turn, by where its bytes begin."""
        bytes_at = _WHERE >> 32
        return {
            address + bytes_at: piece
            for addresses, pieces in self._lent
            for address, piece in zip(addresses or map(id, pieces), pieces, strict=True)
        }

    def leak(self) -> None:
        """For a ring that could not be ended: what it may still read stays for good."""
        _still_read.append((self._lent, self.pins))


_still_read: list[Any] = []
