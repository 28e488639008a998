"""What the fallback backend does with each handle: start, read, send, end.

The law of this file: try first, and arm interest only where the system would block. `_watch`
derives the interest from the slot's state, so nothing sets it by hand.
"""

from __future__ import annotations

import mmap
from collections import deque
from errno import ENOBUFS, ENOTCONN
from typing import Final

from ..completion import (
    DATA,
    DRAINED,
    EOF,
    FAILED,
    GRACEFUL,
    NAME_ROOM,
    NOW,
    READABLE,
    READY,
    WRITABLE,
    Bounds,
    Event,
    retried,
)
from .ends import Ends
from .lines import retry_later
from .packets import packets_have_room, send_packet
from .pollers import BOTH, READ, WRITE, Poller, pending
from .slot import NEVER, Phase, Role, Slot
from .sockets import AT_ONCE, SEND_AT_ONCE, drop_errors
from .starts import Starts

_PLACE: Final = 16_384  # bytes from where one read may begin to where the next may
_DROPPED_AT_ONCE: Final = 65_536  # bytes of a closing stream, which nobody looks at
WOULD_BLOCK: Final = (BlockingIOError, InterruptedError)


class _Sent:
    """Bytes that the kernel has taken, by index: kept in the slots, where counting is cheap."""

    __slots__ = ("_operations",)

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def __getitem__(self, index: int) -> int:
        slot = self._operations._by_index.get(index)
        return 0 if slot is None else slot.accepted - self._operations.staged[index]


class Operations(Starts, Ends):
    """The slots, and what happens to them. `FallbackBackend` calls it turn by turn."""

    def __init__(self, poller: Poller, bounds: Bounds) -> None:
        self.capacity = min(bounds.slots, poller.capacity)
        # A mapping takes memory only for the slots that are used.
        self.staged = memoryview(mmap.mmap(-1, self.capacity * 8)).cast("q")
        self.sent = _Sent(self)
        self._poller = poller
        self._most = bounds.events
        self._limit = bounds.events  # less, while one place is kept for what the last turn put off
        self._slots: dict[int, Slot] = {}
        self._by_fd: dict[int, Slot] = {}
        self._by_index: dict[int, Slot] = {}
        self._events: list[Event] = []
        self._late: deque[Event] = deque()  # events that the last turn had no room for
        self._overtakes = False  # what is told now may come before what is late
        self._place_was_kept = False  # in the last turn with something put off
        self._spoken: set[int] = set()  # handles with an event that the caller has not seen
        # Slices of a mapping are bytes, which those of a bytearray are not.
        most = bounds.receive_buffer_size
        end = bounds.receive_buffers * most
        self._packet_start, self._packet_stride = end, NAME_ROOM + bounds.packet_size
        self.memory = mmap.mmap(-1, end + bounds.packet_buffers * self._packet_stride)
        view = memoryview(self.memory)
        self._view = view
        # One read takes the places that it has filled; the next begins at the next place.
        self._place = min(most, _PLACE)
        self._places = [view[i : min(i + most, end)] for i in range(0, end, self._place)]
        self._next_place = 0
        self._nowhere = bytearray(_DROPPED_AT_ONCE)
        self.packet_views = [
            view[i + NAME_ROOM : i + self._packet_stride]
            for i in range(end, len(view), self._packet_stride)
        ]
        self.next_packet = 0
        self.line_packets, self.line_bytes = bounds.line_packets, bounds.line_bytes
        self.retries: deque[Slot] = deque()  # with packets to be tried again at `retry_at`
        self.retry_at = 0.0
        self._edge_chunk = bounds.edge_chunk if poller.has_edges else 0
        self._unserved: deque[Slot] = deque()  # ready, and no room or buffer was left
        self._half_read: list[Slot] = []  # behind them, those who got some

    def _has_room(self) -> bool:
        return len(self._events) < self._most and self._next_place < len(self._places)

    def _end_of_places(self) -> int:
        """Before which place a read may still begin, as things are: each makes an event."""
        return min(len(self._places), self._next_place + self._most - len(self._events))

    def has_packet_room(self) -> bool:
        return len(self._events) < self._most and self.next_packet < len(self.packet_views)

    def packet_offset(self, number: int) -> int:
        """Where in the memory the sender of a packet is told."""
        return self._packet_start + number * self._packet_stride

    def _emit(self, event: Event) -> None:
        try:
            self._say(event)
        except MemoryError:
            retried(self._say, event)

    def _say(self, event: Event) -> None:
        self._spoken.add(event[0])
        if len(self._events) >= self._limit or (self._late and not self._overtakes):
            self._late.append(event)
        else:
            self._events.append(event)

    def _is_late(self, handle: int) -> bool:
        """Whether something must be told of it first. Which of DRAINED and bytes is, is all one."""
        return any(event[0] == handle and event[1] != DRAINED for event in self._late)

    def _say_late(self) -> None:
        """Fill the room that closes have made: events are late only where there is none."""
        while self._late and len(self._events) < self._limit:
            self._events.append(self._late.popleft())

    def _keep_a_place(self) -> None:
        """In every other turn: those who are owed an event in each may not take all places."""
        self._place_was_kept = not self._place_was_kept
        if self._place_was_kept:
            self._limit = self._most - 1

    def _emit_late(self) -> None:
        late, self._late = self._late, deque()
        for event in late:
            self._emit(event)

    def _watch(self, slot: Slot) -> None:
        """Tell the poller what follows from the slot's state."""
        wanted = slot.watched()
        slot.plain = slot.plain_mask() if wanted == READ else NEVER
        if wanted == slot.interest:
            return
        old, slot.interest = slot.interest, wanted
        try:
            self._poller.change(slot.fd, old, wanted)
        except OSError as error:
            slot.interest = 0
            slot.plain = NEVER
            self._break(slot, error.errno or ENOTCONN)

    def _do_send_to(self, handle: int, packet: tuple[bytes, bytes]) -> None:
        send_packet(self, handle, packet)

    # Results

    def _on_readable(self, slot: Slot) -> int:
        """Read once; returns how many bytes, and 0 where there are no more for now."""
        number = self._next_place
        is_open = slot.phase is Phase.OPEN
        try:
            place = self._places[number] if is_open else self._nowhere
            count = slot.sock.recv_into(place, 0, AT_ONCE)
        except OSError as error:
            self._read_failed(slot, error)
            return 0
        if not count:
            self._on_end(slot)
        elif is_open:
            self._next_place = number + -(-count // self._place)
            self._events.append((slot.handle, DATA, number * self._place, count))
        return int(count)

    def _read_on(self, slot: Slot) -> None:
        """Read until nothing is left, as edges want it, or until it is the turn of others."""
        taken = 0
        while taken < self._edge_chunk and self._has_room():
            count = self._on_readable(slot)
            if not count:
                return
            taken += count
        self._put_off(slot, READ, self._half_read if taken else self._unserved)

    @staticmethod
    def _put_off(slot: Slot, mask: int, line: deque[Slot] | list[Slot]) -> None:
        """Serve it in the next turn. The poller may report it before, so it stands there once."""
        if not slot.put_off:
            line.append(slot)
        slot.put_off |= mask

    def _serve_later(self, slot: Slot, mask: int) -> None:
        """There is no room for what is read or told; but what is sent needs none."""
        if mask & WRITE and slot.carries_data() and not slot.connecting:
            self._on_writable(slot)
            mask &= READ & slot.wanted()
        if mask:
            self._put_off(slot, mask, self._unserved)

    def _put_off_edges(self) -> None:
        """The poller may have told of changes that were not heard, and tells them only once."""
        if self._edge_chunk:
            for slot in self._slots.values():
                self._put_off(slot, BOTH, self._unserved)

    def _read_missed(self, slot: Slot) -> None:
        """Bytes that came while reading was paused are not told again."""
        if slot.missed and slot.wanted() & READ:
            slot.missed = False
            self._put_off(slot, READ, self._unserved)

    def _read_failed(self, slot: Slot, error: OSError) -> None:
        if not isinstance(error, WOULD_BLOCK):
            self._break(slot, error.errno or ENOTCONN)
        elif not slot.edge:
            self._found_nothing(slot)

    def _found_nothing(self, slot: Slot) -> None:
        """It was ready, and nothing is there to be read: it must not stay ready for nothing."""
        drop_errors(slot.sock)
        if pending(slot.fd) & READ:
            slot.deaf = True
            retry_later(self, slot)
            self._watch(slot)

    def _on_end(self, slot: Slot) -> None:
        slot.peer_ended = True
        if slot.phase is Phase.LINGERING:
            self._end(slot)
            return
        if slot.phase is Phase.OPEN:
            self._emit((slot.handle, EOF, 0, 0))
        self._watch(slot)

    def _on_writable(self, slot: Slot) -> None:
        if slot.role is Role.PACKETS:
            packets_have_room(self, slot)
            return
        queue = slot.queue
        while queue:
            try:
                sent = slot.sock.send(queue[0], SEND_AT_ONCE)
            except OSError as error:
                sent = self._send_failed(slot, error)
                if sent < 0:
                    return
                if not slot.edge:
                    drop_errors(slot.sock)
            self.staged[slot.index] -= sent
            if sent < len(queue[0]):
                queue[0] = queue[0][sent:]
                break
            queue.popleft()
        if not queue:
            slot.queue = None
            self._drained(slot)
        self._watch(slot)

    def _on_ready(self, slot: Slot, mask: int) -> None:
        found = (READABLE if mask & READ else 0) | (WRITABLE if mask & WRITE else 0)
        self._forget(slot)
        self._close_fd(slot, GRACEFUL)
        self._emit((slot.handle, READY, found or FAILED, 0))

    def _send_failed(self, slot: Slot, error: OSError) -> int:
        """How many bytes the socket took: 0, or -1 where the stream broke."""
        if isinstance(error, WOULD_BLOCK):
            return 0
        if error.errno == ENOBUFS:  # BSD's send(2): the interface is busy
            if slot.edge:  # the socket has room, so no change will be told
                self._put_off(slot, WRITE, self._unserved)
            return 0
        self._break(slot, error.errno or ENOTCONN)
        return -1

    # Doing what was asked for

    def _do_send(self, handle: int, data: bytes) -> None:
        slot = self._slots.get(handle)
        if slot is None or not data:
            return
        if slot.plain == READ or self._may_send(slot):
            slot.accepted += len(data)
            try:
                sent = slot.sock.send(data, SEND_AT_ONCE)
            except OSError as error:
                sent = self._send_failed(slot, error)
            if sent != len(data):
                self._keep(slot, memoryview(data)[max(0, sent) :])
                self._watch(slot)
        elif slot.phase is Phase.OPEN and not slot.fin:
            slot.accepted += len(data)
            self._keep(slot, memoryview(data))

    @staticmethod
    def _may_send(slot: Slot) -> bool:
        """Nothing is ahead of it, and the stream can take it."""
        ahead = slot.queue or slot.connecting or slot.broken
        return slot.phase is Phase.OPEN and not slot.fin and not ahead

    def _keep(self, slot: Slot, rest: memoryview) -> None:
        self.staged[slot.index] += len(rest)
        if slot.broken:
            return  # counted as never sent
        if slot.queue is None:
            slot.queue = deque()
        slot.queue.append(rest)

    def _do_notify(self, handle: int, _: None) -> None:
        slot = self._slots.get(handle)
        if slot is None or not slot.carries_data() or slot.phase is not Phase.OPEN:
            return
        slot.notify = True
        if not slot.waits():
            self._drained(slot)

    def _do_pause(self, handle: int, paused: bool) -> None:
        slot = self._slots.get(handle)
        if slot is not None and slot.role is not Role.POLL:
            slot.paused = paused
            self._watch(slot)
            self._read_missed(slot)
            if slot.peer_ended:
                self._look_for_error(slot)

    def _do_shutdown(self, handle: int, _: None) -> None:
        slot = self._slots.get(handle)
        if slot is None or not slot.has_end or slot.phase is not Phase.OPEN:
            return
        if not slot.fin:
            slot.fin = True
            self._watch(slot)
            if not slot.waits():
                self._drained(slot)

    def _do_close(self, handle: int, mode: int) -> None:
        slot = self._slots.get(handle)
        if slot is None or (mode == GRACEFUL and slot.phase is not Phase.OPEN):
            return
        soft = mode == GRACEFUL and slot.carries_data()
        if soft and slot.phase is not Phase.OPEN:
            return  # it is being closed like that
        slot.notify = False
        if handle in self._spoken:  # after a close nothing else is said
            self._events[:] = [event for event in self._events if event[0] != handle]
            self._late = deque(event for event in self._late if event[0] != handle)
        if not soft or slot.broken or slot.connecting:
            self._end(slot, max(mode, NOW))
        elif slot.phase is Phase.OPEN:
            slot.phase = Phase.FLUSHING
            if not slot.waits():
                self._drained(slot)
            self._watch(slot)
            self._read_missed(slot)
