"""Sockets that keep message boundaries: datagrams, and packets of a connection.

The law of this file: a packet is received with its sender and its flags, so that a truncated packet
is never taken for a whole one; and a packet leaves whole, in the order of the calls. A packet that
finds no room waits until the poller reports some; or, where no poller can, in a line (`lines.py`).
"""

from __future__ import annotations

import socket
from collections import deque
from errno import EAGAIN, EBADF, EMSGSIZE, ENOMEM, ENOTCONN, ENOTSOCK
from typing import Any, Final

from ..completion import DATAGRAM, LOCAL_AT, REFUSED, TRUNCATED
from ..sockaddr import LOCAL_ROOM, local_of, pack
from .addresses import way_to
from .lines import (
    TRIES_AT_ONCE,
    begin_line,
    has_line,
    packet_over,
    take_in_line,
    try_lines,
    try_packet,
)
from .phases import break_slot, drained, watch
from .reading import take_end
from .slot import DEAF, PacketSlot, Phase, Slot
from .sockets import AT_ONCE, WOULD_BLOCK
from .state import State

_NO_SOCKET: Final = (EBADF, ENOTSOCK)  # any more: the descriptor was closed elsewhere
_AT_ONCE: Final = 16  # packets of one socket before the others have their turn
_CUT: Final = getattr(socket, "MSG_TRUNC", 0)


def receive_packets(state: State, slot: PacketSlot) -> None:
    """Take what waits, up to a bound; the poller reports the socket again for the rest."""
    buffers = state.buffers
    for _ in range(_AT_ONCE):
        if slot.phase is Phase.ENDED or not state.has_packet_room():
            return
        number = buffers.next_packet
        try:
            count, flags, sender, control = _receive(slot, buffers.packets[number])
        except WOULD_BLOCK:
            return
        except OSError as error:
            if not _pass_over(state, slot, error.errno or ENOTCONN):
                return
            continue
        if not count and slot.has_end:
            take_end(state, slot)
            return
        if slot.phase is not Phase.OPEN:
            continue
        if flags & _CUT:
            state.events.emit((slot.handle, TRUNCATED, 0, 0))
        else:
            buffers.next_packet = number + 1
            name = pack(slot.sock.family, sender) if sender is not None else b""
            at = buffers.packet_offset(number)
            buffers.memory[at : at + len(name)] = name
            if slot.tells_local:
                local = local_of(slot.sock.family, control) or bytes(2)
                buffers.memory[at + LOCAL_AT : at + LOCAL_AT + len(local)] = local
            state.events.emit((slot.handle, DATAGRAM, at, len(name) << 32 | count))


def _receive(slot: PacketSlot, room: memoryview) -> tuple[int, int, Any, Any]:
    """(bytes, flags, the sender's address, its control messages)."""
    sock = slot.sock
    if hasattr(sock, "recvmsg_into"):
        control_room = LOCAL_ROOM if slot.tells_local else 0
        count, control, flags, sender = sock.recvmsg_into([room], control_room, AT_ONCE)
        return count, flags, sender, control
    count, sender = sock.recvfrom_into(room)  # Windows raises EMSGSIZE where a packet was cut
    return count, 0, sender, ()


def _pass_over(state: State, slot: PacketSlot, number: int) -> bool:
    """Whether the error was about one packet only."""
    if slot.has_end or number in _NO_SOCKET:
        break_slot(state, slot, number)
        return False
    if slot.phase is Phase.OPEN:
        kind = TRUNCATED if number == EMSGSIZE else REFUSED
        state.events.emit((slot.handle, kind, 0 if kind == TRUNCATED else -number, 0))
    return True


def send_packet(state: State, handle: int, packet: tuple[bytes, bytes]) -> None:
    """Send one packet, or put it behind those that are waiting."""
    slot = state.slots.get(handle)
    if not isinstance(slot, PacketSlot) or slot.phase is not Phase.OPEN or slot.fin:
        return
    data, name = packet
    slot.accepted += len(data)
    state.staged[slot.index] += len(data)
    if slot.broken:
        return  # counted as never sent
    try:
        packets = slot.packets if slot.packets is not None else deque()
        packets.append((data, way_to(name) if name else None))
    except MemoryError:
        packet_over(state, slot, data, ENOMEM)
        return
    slot.packets = packets
    if len(packets) == 1:
        send_packets(state, slot)


def packets_have_room(state: State, slot: PacketSlot) -> None:
    """The poller reports that the socket has room."""
    slot.room_reported = True
    send_packets(state, slot)


def send_packets(state: State, slot: PacketSlot) -> None:
    """Send what waits, until the socket has no room."""
    packets = slot.packets
    while packets and not slot.held:
        data, way = packets[0]
        if has_line(slot, way):
            packets.popleft()
            take_in_line(state, slot, data, way)
            continue
        number = try_packet(slot, data, way)
        if number == EAGAIN and not (slot.is_ordered and way is not None):
            _wait_for_room(state, slot)
            return
        packets.popleft()
        if number == EAGAIN:
            begin_line(state, slot, data, way)
        else:
            packet_over(state, slot, data, number)
        if slot.broken:
            return
    if not packets:
        slot.packets = None
    watch(state, slot)
    if not slot.waits():
        drained(state, slot)


def _wait_for_room(state: State, slot: PacketSlot) -> None:
    """A report of room where there was none is not trusted twice in a row."""
    if slot.room_reported:
        slot.room_reported = False
        slot.held = True
        state.retries.add(slot)
    watch(state, slot)


def retry_due(state: State) -> None:
    """Try again what has waited long enough."""
    tries = 0
    for _ in range(state.retries.take_due()):
        if tries >= TRIES_AT_ONCE:
            return
        slot = state.retries.pop()
        if slot.phase is Phase.ENDED or slot.broken:
            continue
        try:
            tries += 1 + _try_again(state, slot, TRIES_AT_ONCE - tries)
        except MemoryError:
            state.retries.add(slot)


def _try_again(state: State, slot: Slot, most: int) -> int:
    """Returns how many sends its lines took."""
    if isinstance(slot, PacketSlot) and slot.held:
        slot.held = False
        send_packets(state, slot)
    if slot.marks & DEAF:
        slot.marks &= ~DEAF
        watch(state, slot)
    return try_lines(state, slot, most) if isinstance(slot, PacketSlot) else 0
