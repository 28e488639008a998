"""What the fallback backend does with each handle: start, read, send, end.

The law of this file: try first, and arm interest only where the system would block. `_watch`
derives the interest from the slot's state, so nothing sets it by hand.
"""

from __future__ import annotations

import mmap
import os
import socket
import struct
from collections import deque
from errno import EAGAIN, EBADF, EINPROGRESS, EINTR, EINVAL, ENOBUFS, ENOTCONN, EWOULDBLOCK
from typing import Final

from ..completion import (
    CONNECTED,
    DATA,
    EOF,
    FAILED,
    GRACEFUL,
    INDEX_MASK,
    NAME_ROOM,
    READABLE,
    READY,
    RESET,
    WRITABLE,
    Bounds,
    Event,
)
from .addresses import NO_ADDRESS, address_of
from .ends import Ends
from .packets import packets_have_room, send_packet
from .pollers import READ, WRITE, Poller
from .slot import NEVER, Phase, Role, Slot

NO_FD: Final = -1
_REORDERING: Final = (socket.AF_INET, socket.AF_INET6)  # networks may
_PLACE: Final = 16_384  # bytes from where one read may begin to where the next may
NO_SIGNAL: Final = getattr(socket, "MSG_NOSIGNAL", 0)
# Windows begins to connect with it.
EWOULDBLOCK_THERE: Final = EWOULDBLOCK if EWOULDBLOCK != EAGAIN else EINPROGRESS
WOULD_BLOCK: Final = (BlockingIOError, InterruptedError)


class _Sent:
    """Bytes that the kernel has taken, by index: kept in the slots, where counting is cheap."""

    __slots__ = ("_operations",)

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    def __getitem__(self, index: int) -> int:
        slot = self._operations._by_index.get(index)
        return 0 if slot is None else slot.accepted - self._operations.staged[index]


class Operations(Ends):
    """The slots, and what happens to them. `FallbackBackend` calls it turn by turn."""

    def __init__(self, poller: Poller, bounds: Bounds) -> None:
        self.capacity = min(bounds.slots, poller.capacity)
        # A mapping takes memory only for the slots that are used.
        self.staged = memoryview(mmap.mmap(-1, self.capacity * 8)).cast("q")
        self.sent = _Sent(self)
        self._poller = poller
        self._most = bounds.events
        self._slots: dict[int, Slot] = {}
        self._by_fd: dict[int, Slot] = {}
        self._by_index: dict[int, Slot] = {}
        self._events: list[Event] = []
        self._late: deque[Event] = deque()  # events that the last turn had no room for
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
        self.packet_views = [
            view[i + NAME_ROOM : i + self._packet_stride]
            for i in range(end, len(view), self._packet_stride)
        ]
        self.next_packet = 0
        self.line_packets, self.line_bytes = bounds.line_packets, bounds.line_bytes
        self.retries: deque[Slot] = deque()  # with packets to be tried again at `retry_at`
        self.retry_at = 0.0
        self._edge_chunk = bounds.edge_chunk if poller.has_edges else 0
        self._unserved: list[Slot] = []  # ready, and no room or buffer was left
        self._half_read: list[Slot] = []  # behind them, those who got some

    def _has_room(self) -> bool:
        return len(self._events) < self._most and self._next_place < len(self._places)

    def has_packet_room(self) -> bool:
        return len(self._events) < self._most and self.next_packet < len(self.packet_views)

    def packet_offset(self, number: int) -> int:
        """Where in the memory the sender of a packet is told."""
        return self._packet_start + number * self._packet_stride

    def _emit(self, event: Event) -> None:
        self._spoken.add(event[0])
        if self._late or len(self._events) >= self._most:
            self._late.append(event)
        else:
            self._events.append(event)

    def _say_late(self) -> None:
        """Fill the room that closes have made: events are late only where there is none."""
        while self._late and len(self._events) < self._most:
            self._events.append(self._late.popleft())

    # Starting

    def _start(self, handle: int, fd: int, role: Role) -> Slot:
        index = handle & INDEX_MASK
        slot = Slot(handle, index, fd, role)
        self._slots[handle] = self._by_index[index] = self._by_fd[fd] = slot
        return slot

    def _own(self, slot: Slot, family: int = -1, kind: int = -1, protocol: int = -1) -> bool:
        """Make its socket object; where the descriptor is none, that is the handle's error."""
        try:
            slot.sock = socket.socket(family, kind, protocol, slot.fd)
        except OSError as error:
            self._break(slot, error.errno or EBADF)
        except (ValueError, OverflowError):
            self._break(slot, EBADF)
        return slot.sock is not None

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

    def _do_listen(self, handle: int, fd: int) -> None:
        slot = self._start(handle, fd, Role.LISTENER)
        if self._own(slot, socket.AF_INET, socket.SOCK_STREAM, 0):
            self._watch(slot)

    def _do_adopt(self, handle: int, fd: int) -> None:
        slot = self._start(handle, fd, Role.STREAM)
        # Reading and writing do not ask for the family, and telling it saves system calls.
        if self._own(slot, socket.AF_INET, socket.SOCK_STREAM, 0):
            slot.edge = self._edge_chunk > 0
            self._watch(slot)

    def _do_adopt_packets(self, handle: int, fd: int) -> None:
        slot = self._start(handle, fd, Role.PACKETS)
        if not self._own(slot):
            return
        slot.has_end = slot.sock.type == getattr(socket, "SOCK_SEQPACKET", None)
        slot.is_ordered = not slot.has_end and slot.sock.family not in _REORDERING
        self._watch(slot)

    def _do_send_to(self, handle: int, packet: tuple[bytes, bytes]) -> None:
        send_packet(self, handle, packet)

    def _do_connect(self, handle: int, argument: tuple[int, bytes]) -> None:
        fd, packed = argument
        slot = self._start(handle, fd, Role.STREAM)
        family, address = address_of(packed)
        if not self._own(slot, family, socket.SOCK_STREAM, 0):
            return
        slot.connecting = True
        try:
            slot.sock.connect(address)
        except NO_ADDRESS:
            self._break(slot, EINVAL)
        except OSError as error:
            # EAGAIN is no EINPROGRESS: a Unix listener's backlog is full, or no port is free.
            if error.errno in (EINPROGRESS, EWOULDBLOCK_THERE, EINTR):
                self._watch(slot)
            else:
                self._break(slot, error.errno or ENOTCONN)
        else:
            self._on_connected(slot)

    def _do_poll(self, handle: int, argument: tuple[int, int]) -> None:
        fd, mask = argument
        is_taken = fd in self._by_fd  # interest is keyed by descriptor: it gets one of its own
        try:
            own = os.dup(fd) if is_taken else fd
        except OSError as error:
            self._break(self._start(handle, NO_FD, Role.POLL), error.errno or ENOTCONN)
            return
        slot = self._start(handle, own, Role.POLL)
        if is_taken:
            slot.sock = open(slot.fd, "rb", buffering=0)  # noqa: SIM115 - closed by _close_fd
        slot.mask = (READ if mask & READABLE else 0) | (WRITE if mask & WRITABLE else 0)
        self._watch(slot)

    # Results

    def _on_connected(self, slot: Slot) -> None:
        error = slot.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._break(slot, error)
            return
        slot.connecting = False
        slot.edge = self._edge_chunk > 0
        self._emit((slot.handle, CONNECTED, 0, 0))
        if slot.queue:
            self._on_writable(slot)
        else:
            self._drained(slot)
        self._watch(slot)

    def _on_readable(self, slot: Slot) -> int:
        """Read once; returns how many bytes, and 0 where there are no more for now."""
        number = self._next_place
        try:
            count = slot.sock.recv_into(self._places[number])
        except OSError as error:
            self._read_failed(slot, error)
            return 0
        if not count:
            self._on_end(slot)
        elif slot.phase is Phase.OPEN:
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
    def _put_off(slot: Slot, mask: int, line: list[Slot]) -> None:
        """Serve it in the next turn. The poller may report it before, so it stands there once."""
        if not slot.put_off:
            line.append(slot)
        slot.put_off |= mask

    def _read_missed(self, slot: Slot) -> None:
        """Bytes that came while reading was paused are not told again."""
        if slot.missed and slot.wanted() & READ:
            slot.missed = False
            self._put_off(slot, READ, self._unserved)

    def _read_failed(self, slot: Slot, error: OSError) -> None:
        if not isinstance(error, WOULD_BLOCK):
            self._break(slot, error.errno or ENOTCONN)

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
                sent = slot.sock.send(queue[0], NO_SIGNAL)
            except OSError as error:
                sent = self._send_failed(slot, error)
                if sent < 0:
                    return
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
        self._close_fd(slot)
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
                sent = slot.sock.send(data, NO_SIGNAL)
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
        if slot is None:
            return
        slot.notify = False
        if handle in self._spoken:  # after a close nothing else is said
            self._events[:] = [event for event in self._events if event[0] != handle]
            self._late = deque(event for event in self._late if event[0] != handle)
        soft = mode == GRACEFUL and slot.carries_data()
        if not soft or slot.broken or slot.connecting:
            if mode == RESET and slot.sock is not None and slot.role is Role.STREAM:
                at_once = struct.pack("ii", 1, 0)
                slot.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            self._end(slot)
        elif slot.phase is Phase.OPEN:
            slot.phase = Phase.FLUSHING
            if not slot.waits():
                self._drained(slot)
            self._watch(slot)
            self._read_missed(slot)
