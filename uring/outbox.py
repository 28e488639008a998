"""What is to be sent in a turn, and the memory of it that the kernel still reads.

The law of this file: bytes are not copied on their way to the kernel. The core gets their
addresses, and the objects are kept until it has no more use for them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from struct import Struct
from typing import Any, Final, NamedTuple

from ..completion import retried
from ._ring import ffi, lib

_KEPT_PACKERS: Final = 256  # for so many pieces at once, and fewer
_SIZE: Final = Struct("q").pack


class Layout(NamedTuple):
    """Where a list has the address of its items, and `bytes` have their size and their bytes."""

    items_at: int
    size_at: int
    bytes_at: int

    def packed(self) -> int:
        """As RN_SENDS takes it."""
        return self.items_at << 48 | self.bytes_at << 32 | self.size_at


def _layout_of_objects() -> Layout | None:
    """The layout here, from the address that `id` gives; None where that is no address.

    So it is in CPython (Include/cpython/bytesobject.h and listobject.h); whether it is so in this
    one is tried.
    """
    if sys.implementation.name != "cpython":
        return None
    bytes_at = bytes.__basicsize__ - 1  # without the zero at the end
    layout = Layout(list.__basicsize__ - 16, bytes_at - 16, bytes_at)  # before the hash
    probe = bytes(range(123))
    pieces = [b"", probe]
    fits = (
        _address(ffi.from_buffer(probe)) == id(probe) + bytes_at
        and _word(id(probe) + layout.size_at) == len(probe)
        and _word(id(pieces) + layout.items_at - 8) == len(pieces)
        and _word(_word(id(pieces) + layout.items_at) + 8) == id(probe)
    )
    return layout if fits else None


def _address(data: Any) -> int:
    return int(ffi.cast("intptr_t", data))


def _word(address: int) -> int:
    return int(ffi.cast("int64_t *", address)[0])


_LAYOUT: Final = _layout_of_objects()
_COPIED: Final = Layout(0, 0, 8)
_WHERE: Final = (_LAYOUT or _COPIED).packed()


def _copied(pieces: list[bytes]) -> tuple[Any, Any]:
    """What looks like the list, of copies; and what keeps all of it in place."""
    parts: list[bytes] = []
    offsets = []
    end = 0
    for piece in pieces:
        gap = bytes(-len(piece) % 8)
        parts += (_SIZE(len(piece)), piece, gap)
        offsets.append(end)
        end += 8 + len(piece) + len(gap)
    block = ffi.from_buffer(b"".join(parts))
    start = _address(block)
    table = ffi.new("int64_t[]", [0, *(start + offset for offset in offsets)])
    table[0] = _address(table) + 8
    return table, (table, block)


class Outbox:
    """The handles that send in this turn, and the bytes that they send."""

    def __init__(self) -> None:
        self.handles: list[int] = []
        self.pieces: list[bytes] = []
        self._packers: dict[int, Callable[..., bytes]] = {}
        self.lent: list[tuple[list[int] | None, list[Any]]] = []  # in this turn
        self.pins: dict[int, list[Any]] = {}  # what is kept beyond its turn, by its address

    def take(self) -> bytes:
        """Make it a command, and begin anew. Where there is no memory for it, nothing changes."""
        pieces = self.pieces.copy()
        count = len(pieces)
        if _LAYOUT is None:
            table, copies = _copied(pieces)
            self.lent.append((list(table[1 : count + 1]), [copies] * count))
            address = _address(table)
        else:
            self.lent.append((None, pieces))
            address = id(pieces)
        pack = self._packers.get(count) or self._new_packer(count)
        block = pack(lib.RN_SENDS, count, _WHERE, address, *self.handles)
        self.pieces.clear()
        self.handles.clear()
        return block

    def _new_packer(self, count: int) -> Callable[..., bytes]:
        pack = Struct(f"{4 + count}q").pack
        if count <= _KEPT_PACKERS:
            self._packers[count] = pack
        return pack

    def settle(self, shared: Any) -> None:
        """The turn is over: keep what the core still reads, and no more."""
        try:
            if shared.pinned.count:
                self._keep_pinned(shared)
        except MemoryError:
            retried(self._keep_pinned, shared)
        self.lent.clear()
        try:
            if self.pins and shared.released.count:
                self._let_go_released(shared)
        except MemoryError:
            retried(self._let_go_released, shared)

    def _keep_pinned(self, shared: Any) -> None:
        lent = self._lent_by_address()
        for start in ffi.unpack(shared.pinned.items, shared.pinned.count):
            self.pins.setdefault(start, []).append(lent[start])

    def _let_go_released(self, shared: Any) -> None:
        for start in ffi.unpack(shared.released.items, shared.released.count):
            kept = self.pins[start]
            kept.pop()  # the same bytes may be sent several times
            if not kept:
                del self.pins[start]

    def _lent_by_address(self) -> dict[int, Any]:
        """What was lent in this turn, by where its bytes begin."""
        bytes_at = (_LAYOUT or _COPIED).bytes_at
        return {
            address + bytes_at: piece
            for addresses, pieces in self.lent
            for address, piece in zip(addresses or map(id, pieces), pieces, strict=True)
        }

    def leak(self, memory: Any) -> None:
        """For a ring that could not be ended: what it may still read, or fill, stays for good."""
        _still_read.append((self.lent, self.pins, memory))


_still_read: list[Any] = []
