"""Receive memory: places for the bytes of streams, and buffers for packets.

The law of this file: what a turn has filled is the caller's until the next turn begins, so a place
is used once in a turn.
"""

from __future__ import annotations

import mmap
from typing import Final

from ..completion import NAME_ROOM, Bounds

_PLACE: Final = 16_384  # bytes from where one read may begin to where the next may
_DROPPED_AT_ONCE: Final = 65_536  # bytes of a closing stream, which nobody looks at


class Buffers:
    """One mapping: first the places of streams, then the buffers of packets."""

    __slots__ = (
        "_packet_start",
        "_packet_stride",
        "_view",
        "memory",
        "next_packet",
        "next_place",
        "nowhere",
        "packets",
        "place",
        "places",
    )

    def __init__(self, bounds: Bounds) -> None:
        most = bounds.receive_buffer_size
        end = bounds.receive_buffers * most
        stride = NAME_ROOM + bounds.packet_size
        self._packet_start, self._packet_stride = end, stride
        # Slices of a mapping are bytes, which those of a bytearray are not.
        self.memory = mmap.mmap(-1, end + bounds.packet_buffers * stride)
        self._view = view = memoryview(self.memory)
        # One read takes the places that it has filled; the next begins at the next place.
        self.place = min(most, _PLACE)
        self.places = [view[i : min(i + most, end)] for i in range(0, end, self.place)]
        self.next_place = 0
        self.packets = [view[i + NAME_ROOM : i + stride] for i in range(end, len(view), stride)]
        self.next_packet = 0
        self.nowhere = bytearray(_DROPPED_AT_ONCE)

    def packet_offset(self, number: int) -> int:
        """Where in the memory the sender of a packet is."""
        return self._packet_start + number * self._packet_stride

    def release(self) -> None:
        """The caller may look at the memory for as long as it likes; nothing is read into it."""
        for view in (*self.places, *self.packets, self._view):
            view.release()
