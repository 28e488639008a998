"""Packets whose receivers are full.

A Unix datagram goes straight into the queue of its receiver. Where that is full the sending socket
still polls writable, since others may have room; so no event shows when to try again.

The law of this file: each full receiver has a line of its own, and only what goes to the same
address waits in it. The heads are tried again once in a while, so many at a time at most. Lines are
bounded; what comes beyond that is refused.
"""

from __future__ import annotations

from collections import deque
from errno import EAGAIN, EINVAL, EIO, EMSGSIZE, ENOMEM, ENOTCONN
from itertools import islice
from typing import Final

from ..completion import NAME_ROOM, REFUSED, Event, retried
from ..sockaddr import Way
from .addresses import NO_ADDRESS
from .phases import break_slot, drained
from .slot import Lines, PacketSlot, Phase
from .sockets import SEND_AT_ONCE, WOULD_BLOCK
from .state import State

TRIES_AT_ONCE: Final = 64  # sends, each time
_LARGEST: Final = 1 << 30  # bytes of a packet


def _cost(data: bytes) -> int:
    """An empty packet costs something too, so that there are only so many."""
    return len(data) + NAME_ROOM


def has_line(slot: PacketSlot, way: Way | None) -> bool:
    """Whether something is ahead of a packet to this address."""
    return slot.lines is not None and way in slot.lines.by_way


def take_in_line(state: State, slot: PacketSlot, data: bytes, way: Way | None) -> None:
    """Have a packet wait behind those to the same address, or refuse it."""
    lines = slot.lines
    assert lines is not None
    line = lines.by_way[way]
    if len(line) >= state.line_packets or lines.size + _cost(data) > state.line_bytes:
        packet_over(state, slot, data, EAGAIN)
        return
    try:
        line.append(data)
    except MemoryError:
        packet_over(state, slot, data, ENOMEM)
    else:
        lines.size += _cost(data)


def begin_line(state: State, slot: PacketSlot, data: bytes, way: Way | None) -> None:
    """The receiver of a packet is full, and nothing waits for it yet."""
    size = slot.lines.size if slot.lines is not None else 0
    if size + _cost(data) > state.line_bytes:
        packet_over(state, slot, data, EAGAIN)
        return
    try:
        lines = slot.lines or Lines()
        lines.by_way[way] = deque([data])
    except MemoryError:
        packet_over(state, slot, data, ENOMEM)
        return
    lines.size += _cost(data)
    slot.lines = lines
    state.retries.add(slot)


def try_lines(state: State, slot: PacketSlot, most: int) -> int:
    """Try each line once, with so many sends; returns how many it took."""
    tries, lines = 0, slot.lines
    if lines is None:
        return 0
    for way in list(islice(lines.by_way, most)):
        if tries >= most or slot.phase is Phase.ENDED:
            break
        tries += _send_line(state, slot, lines, way)
    if lines.by_way and slot.phase is not Phase.ENDED:
        state.retries.add(slot)
    return tries


def _send_line(state: State, slot: PacketSlot, lines: Lines, way: Way | None) -> int:
    """Send what waits in a line until it is empty, or finds no room."""
    line = lines.by_way.pop(way)
    for tries in range(1, TRIES_AT_ONCE + 1):
        number = try_packet(slot, line[0], way)
        if number == EAGAIN:
            break
        data = line.popleft()
        lines.size -= _cost(data)
        packet_over(state, slot, data, number)
        if not line:
            if not lines.by_way:
                slot.lines = None
                _go_on(state, slot)
            return tries
    retried(lines.by_way.__setitem__, way, line)  # behind the others
    return tries


def _go_on(state: State, slot: PacketSlot) -> None:
    if not slot.waits():
        drained(state, slot)


def try_packet(slot: PacketSlot, data: bytes, way: Way | None) -> int:
    """Send one packet if there is room: 0, or why it was not sent, as an errno."""
    if len(data) > _LARGEST:
        return EMSGSIZE
    try:
        if way is None:
            count = slot.sock.send(data, SEND_AT_ONCE)
        elif way[1]:
            count = slot.sock.sendmsg([data], way[1], SEND_AT_ONCE, way[0])
        else:
            count = slot.sock.sendto(data, SEND_AT_ONCE, way[0])
    except WOULD_BLOCK:
        return EAGAIN
    except OSError as error:
        return error.errno or ENOTCONN
    except NO_ADDRESS:
        return EINVAL
    except MemoryError:
        return ENOMEM
    return 0 if count == len(data) else EIO


def packet_over(state: State, slot: PacketSlot, data: bytes, number: int) -> None:
    """A packet was sent, or dropped; `number` is why it was not sent, or 0."""
    size = len(data)
    is_reported = slot.phase is Phase.OPEN and not slot.has_end and not slot.broken
    if not number:
        slot.room_reported = False
        state.staged[slot.index] -= size
    elif is_reported:  # else it counts as never sent
        slot.accepted -= size
        state.staged[slot.index] -= size
        state.events.emit(retried(_refusal, slot, number, size))
    elif slot.has_end:
        retried(break_slot, state, slot, number)


def _refusal(slot: PacketSlot, number: int, size: int) -> Event:
    return slot.handle, REFUSED, -number, size
