"""Sockets that keep message boundaries: datagrams, and packets of a connection.

The law of this file: a packet is received with its sender and its flags, so that one that was cut
is never taken for a whole one; and a packet leaves whole, in the order of the calls. What finds no
room waits for it by the poller; or, where a poller cannot tell, in a line (`lines.py`).
"""

from __future__ import annotations

import socket
from collections import deque
from errno import EAGAIN, EBADF, EMSGSIZE, ENOTCONN, ENOTSOCK
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from ..completion import DATAGRAM, LOCAL_AT, REFUSED, RETRY_PERIOD, TRUNCATED
from ..sockaddr import LOCAL_ROOM, local_of, pack
from .addresses import way_to
from .lines import (
    NO_WAITING,
    TRIES_AT_ONCE,
    WOULD_BLOCK,
    begin_line,
    has_line,
    packet_over,
    retry_later,
    take_in_line,
    try_lines,
    try_packet,
)
from .slot import Phase

if TYPE_CHECKING:
    from .operations import Operations
    from .slot import Slot

_NO_SOCKET: Final = (EBADF, ENOTSOCK)  # any more: somebody else has closed the descriptor
_AT_ONCE: Final = 16  # packets of one socket before the others have their turn
_CUT: Final = getattr(socket, "MSG_TRUNC", 0)


def receive_packets(backend: Operations, slot: Slot) -> None:
    """Take what waits, up to a bound; the poller reports the socket again for the rest."""
    for _ in range(_AT_ONCE):
        if slot.phase is Phase.ENDED or not backend.has_packet_room():
            return
        number = backend.next_packet
        try:
            count, flags, sender, told = _receive(slot, backend.packet_views[number])
        except WOULD_BLOCK:
            return
        except OSError as error:
            if not _pass_over(backend, slot, error.errno or ENOTCONN):
                return
            continue
        if not count and slot.has_end:
            backend._on_end(slot)
            return
        if slot.phase is not Phase.OPEN:
            continue
        if flags & _CUT:
            backend._emit((slot.handle, TRUNCATED, 0, 0))
        else:
            backend.next_packet = number + 1
            name = pack(slot.sock.family, sender) if sender is not None else b""
            at = backend.packet_offset(number)
            backend.memory[at : at + len(name)] = name
            if slot.tells_local:
                local = local_of(slot.sock.family, told) or bytes(2)
                backend.memory[at + LOCAL_AT : at + LOCAL_AT + len(local)] = local
            backend._emit((slot.handle, DATAGRAM, at, len(name) << 32 | count))


def _receive(slot: Slot, room: memoryview) -> tuple[int, int, Any, Any]:
    """(bytes, flags, the sender's address, what the system told besides)."""
    sock = slot.sock
    if hasattr(sock, "recvmsg_into"):
        control = LOCAL_ROOM if slot.tells_local else 0
        count, told, flags, sender = sock.recvmsg_into([room], control, NO_WAITING)
        return count, flags, sender, told
    count, sender = sock.recvfrom_into(room)  # Windows says EMSGSIZE where a packet was cut
    return count, 0, sender, ()


def _pass_over(backend: Operations, slot: Slot, number: int) -> bool:
    """Whether the error was about one packet only."""
    if slot.has_end or number in _NO_SOCKET:
        backend._break(slot, number)
        return False
    if slot.phase is Phase.OPEN:
        kind = TRUNCATED if number == EMSGSIZE else REFUSED
        backend._emit((slot.handle, kind, 0 if kind == TRUNCATED else -number, 0))
    return True


def send_packet(backend: Operations, handle: int, packet: tuple[bytes, bytes]) -> None:
    """Send one packet, or put it behind those that wait."""
    slot = backend._slots.get(handle)
    if slot is None or slot.phase is not Phase.OPEN or slot.fin:
        return
    data, name = packet
    slot.accepted += len(data)
    backend.staged[slot.index] += len(data)
    if slot.broken:
        return  # counted as never sent
    if slot.packets is None:
        slot.packets = deque()
    slot.packets.append((data, way_to(name) if name else None))
    if len(slot.packets) == 1:
        send_packets(backend, slot)


def packets_have_room(backend: Operations, slot: Slot) -> None:
    """The poller says that the socket has room."""
    slot.room_told = True
    send_packets(backend, slot)


def send_packets(backend: Operations, slot: Slot) -> None:
    """Send what waits, until the socket has no room."""
    packets = slot.packets
    while packets and not slot.held:
        data, way = packets[0]
        if has_line(slot, way):
            packets.popleft()
            take_in_line(backend, slot, data, way)
            continue
        number = try_packet(slot, data, way)
        if number == EAGAIN and not (slot.is_ordered and way is not None):
            _wait_for_room(backend, slot)
            return
        packets.popleft()
        if number == EAGAIN:
            begin_line(backend, slot, data, way)
        else:
            packet_over(backend, slot, data, number)
        if slot.broken:
            return
    if not packets:
        slot.packets = None
    backend._watch(slot)
    if not slot.waits():
        backend._drained(slot)


def _wait_for_room(backend: Operations, slot: Slot) -> None:
    """Where the poller said so, and there was none, it is not believed twice in a row."""
    if slot.room_told:
        slot.room_told = False
        slot.held = True
        retry_later(backend, slot)
    backend._watch(slot)


def retry_due(backend: Operations) -> None:
    """Try again what has waited long enough."""
    now, tries = monotonic(), 0
    if now < backend.retry_at:
        return
    backend.retry_at = now + RETRY_PERIOD
    for _ in range(len(backend.retries)):
        if tries >= TRIES_AT_ONCE:
            return
        slot = backend.retries.popleft()
        slot.retries = False
        if slot.phase is Phase.ENDED or slot.broken:
            continue
        if slot.held:
            slot.held = False
            send_packets(backend, slot)
        if slot.deaf:
            slot.deaf = False
            backend._watch(slot)
        tries += 1 + try_lines(backend, slot, TRIES_AT_ONCE - tries)


def retry_timeout(backend: Operations, timeout: float | None) -> float:
    """How long a turn may wait, of the time that it has."""
    left = max(0.0, backend.retry_at - monotonic())
    return left if timeout is None else min(left, timeout)
