"""Bytes of streams that arrive, and the peer's end.

The law of this file: nothing stays ready for nothing. Reading keeps its interest, level-triggered,
so that a message costs one system call to learn of it and one to read it; with edges it is read
until nothing is left.
"""

from __future__ import annotations

from errno import ENOTCONN

from ..completion import DATA, EOF
from .phases import break_slot, end_slot, watch
from .pollers import READ, pending
from .slot import DEAF, MISSED, Phase, Slot
from .sockets import AT_ONCE, WOULD_BLOCK, drop_errors
from .state import State


def read_once(state: State, slot: Slot) -> int:
    """Read once; returns how many bytes, and 0 where there are no more for now."""
    buffers = state.buffers
    number = buffers.next_place
    is_open = slot.phase is Phase.OPEN
    try:
        room = buffers.places[number] if is_open else buffers.nowhere
        count = slot.sock.recv_into(room, 0, AT_ONCE)
    except OSError as error:
        read_failed(state, slot, error)
        return 0
    if not count:
        take_end(state, slot)
    elif is_open:
        place = buffers.place
        buffers.next_place = number + -(-count // place)
        state.events.current.append((slot.handle, DATA, number * place, count))
    return int(count)


def read_on(state: State, slot: Slot) -> None:
    """Read until nothing is left, as edges want it, or until it is the turn of others."""
    taken = 0
    while taken < state.edge_chunk and state.has_room():
        count = read_once(state, slot)
        if not count:
            return
        taken += count
    if taken:
        state.put_off_rest(slot)
    else:
        state.put_off(slot, READ)


def read_missed(state: State, slot: Slot) -> None:
    """The poller does not report again what came while reading was paused."""
    if slot.marks & MISSED and slot.wanted() & READ:
        slot.marks &= ~MISSED
        state.put_off(slot, READ)


def read_failed(state: State, slot: Slot, error: OSError) -> None:
    if not isinstance(error, WOULD_BLOCK):
        break_slot(state, slot, error.errno or ENOTCONN)
    elif not slot.edge:
        found_nothing(state, slot)


def found_nothing(state: State, slot: Slot) -> None:
    """It was ready, and nothing is there to be read: it must not stay ready for nothing."""
    drop_errors(slot.sock)
    if pending(slot.fd) & READ:
        slot.marks |= DEAF
        state.retries.add(slot)
        watch(state, slot)


def take_end(state: State, slot: Slot) -> None:
    slot.peer_ended = True
    if slot.phase is Phase.LINGERING:
        end_slot(state, slot)
        return
    if slot.phase is Phase.OPEN:
        state.events.emit((slot.handle, EOF, 0, 0))
    watch(state, slot)
