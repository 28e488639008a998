"""The state of a fallback backend: its slots, what it owns, and what waits for the next turn.

What happens to a slot is in functions that take this state: `starts.py`, `reading.py`,
`sending.py`, `packets.py`, ...
"""

from __future__ import annotations

import mmap
from collections import deque

from ..completion import Bounds
from .buffers import Buffers
from .events import Events
from .pollers import BOTH, READ, Poller
from .retries import Retries
from .slot import Slot
from .waker import Waker


class Sent:
    """Bytes that the kernel has taken, by index: kept in the slots, where counting is cheap."""

    __slots__ = ("_by_index", "_staged")

    def __init__(self, by_index: dict[int, Slot], staged: memoryview) -> None:
        self._by_index = by_index
        self._staged = staged

    def __getitem__(self, index: int) -> int:
        slot = self._by_index.get(index)
        return 0 if slot is None else slot.accepted - self._staged[index]


class State:
    """What the functions of this ground share; on the thread of the turns."""

    capacity: int  # slots at once
    poller: Poller
    waker: Waker  # any thread
    events: Events
    buffers: Buffers

    slots: dict[int, Slot]  # by handle
    by_fd: dict[int, Slot]
    by_index: dict[int, Slot]
    staged: memoryview  # bytes accepted and not yet sent, by index
    sent: Sent

    unserved: deque[Slot]  # ready, and no room or buffer was left
    half_read: list[Slot]  # edge-triggered, after their chunk: served behind the unserved
    edge_chunk: int  # bytes of a stream before the others have their turn; 0: level-triggered
    retries: Retries  # what no poller reports
    line_packets: int  # packets that wait for one receiver that is full
    line_bytes: int  # of all packets that wait in the lines of a socket

    __slots__ = tuple(__annotations__)  # a slot for each of the above

    def __init__(self, poller: Poller, bounds: Bounds) -> None:
        self.capacity = min(bounds.slots, poller.capacity)
        self.poller = poller
        self.events = Events(bounds.events)
        self.buffers = Buffers(bounds)
        self.slots = {}
        self.by_fd = {}
        self.by_index = {}
        # A mapping takes memory only for the slots that are used.
        self.staged = memoryview(mmap.mmap(-1, self.capacity * 8)).cast("q")
        self.sent = Sent(self.by_index, self.staged)
        self.unserved = deque()
        self.half_read = []
        self.edge_chunk = bounds.edge_chunk if poller.has_edges else 0
        self.retries = Retries()
        self.line_packets, self.line_bytes = bounds.line_packets, bounds.line_bytes
        self.waker = Waker()
        poller.change(self.waker.fd, 0, READ)

    def has_room(self) -> bool:
        """Whether one more may be read, or accepted."""
        events, buffers = self.events, self.buffers
        return len(events.current) < events.most and buffers.next_place < len(buffers.places)

    def end_of_places(self) -> int:
        """Before which place a read may still begin, as things are: each makes an event."""
        events, buffers = self.events, self.buffers
        return min(len(buffers.places), buffers.next_place + events.most - len(events.current))

    def has_packet_room(self) -> bool:
        events, buffers = self.events, self.buffers
        return len(events.current) < events.most and buffers.next_packet < len(buffers.packets)

    def put_off(self, slot: Slot, mask: int) -> None:
        """Serve it in the next turn. It stands in line once, however often it is reported."""
        if not slot.put_off:
            self.unserved.append(slot)
        slot.put_off |= mask

    def put_off_rest(self, slot: Slot) -> None:
        """Read the rest of it in the next turn, behind the others: it has had its chunk."""
        if not slot.put_off:
            self.half_read.append(slot)
        slot.put_off |= READ

    def put_off_edges(self) -> None:
        """The poller reports a change only once, and some reports may have been lost."""
        if self.edge_chunk:
            for slot in self.slots.values():
                self.put_off(slot, BOTH)
