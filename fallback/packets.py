"""Sockets that keep message boundaries: datagrams, and packets of a connection.

The law of this file: a packet is received with its sender and its flags, so that one that was cut
is never taken for a whole one; and a packet leaves whole, in the order of the calls.
"""

from __future__ import annotations

import socket
from collections import deque
from errno import EMSGSIZE, ENOTCONN
from typing import TYPE_CHECKING, Any, Final

from ..completion import DATAGRAM, REFUSED, TRUNCATED
from ..sockaddr import pack, unpack
from .slot import Phase

if TYPE_CHECKING:
    from .operations import Operations
    from .slot import Slot

_AT_ONCE: Final = 16  # packets of one socket before the others have their turn
_CUT: Final = getattr(socket, "MSG_TRUNC", 0)
_WOULD_BLOCK: Final = (BlockingIOError, InterruptedError)


def receive_packets(backend: Operations, slot: Slot) -> None:
    """Take what waits, up to a bound; the poller reports the socket again for the rest."""
    for _ in range(_AT_ONCE):
        if slot.phase is Phase.ENDED or not backend.has_packet_room():
            return
        number = backend.next_packet
        try:
            count, flags, sender = _receive(slot.sock, backend.packet_views[number])
        except _WOULD_BLOCK:
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
            backend._emit((slot.handle, DATAGRAM, at, len(name) << 32 | count))


def _receive(sock: Any, room: memoryview) -> tuple[int, int, Any]:
    """(bytes, flags, the sender's address)."""
    if hasattr(sock, "recvmsg_into"):
        count, _, flags, sender = sock.recvmsg_into([room])
    else:  # Windows says EMSGSIZE where a packet was cut
        count, sender = sock.recvfrom_into(room)
        flags = 0
    return count, flags, sender


def _pass_over(backend: Operations, slot: Slot, number: int) -> bool:
    """Whether the error was about one packet only."""
    if slot.has_end:
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
    slot.packets.append((data, unpack(name)[1] if name else None))
    if len(slot.packets) == 1:
        send_packets(backend, slot)


def send_packets(backend: Operations, slot: Slot) -> None:
    """Send what waits, until the socket has no room."""
    packets = slot.packets
    while packets and not slot.broken and slot.phase is not Phase.ENDED:
        data, address = packets[0]
        try:
            if address is None:
                slot.sock.send(data)
            else:
                slot.sock.sendto(data, address)
        except _WOULD_BLOCK:
            backend._watch(slot)
            return
        except OSError as error:
            if _send_failed(backend, slot, error.errno or ENOTCONN):
                return
        packets.popleft()
        backend.staged[slot.index] -= len(data)
    slot.packets = None
    backend._watch(slot)
    backend._drained(slot)


def _send_failed(backend: Operations, slot: Slot, number: int) -> bool:
    """Whether the socket is broken; else one packet was refused."""
    if slot.has_end:
        backend._break(slot, number)
        return True
    if slot.phase is Phase.OPEN:
        backend._emit((slot.handle, REFUSED, -number, 0))
    return False
