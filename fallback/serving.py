"""Serving what the poller has reported.

The law of this file: where no room is left for an event or for bytes, what was reported waits for
the next turn, and comes first in it. One slot that finds no memory costs the others nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..completion import DATA, FAILED, GRACEFUL, READABLE, READY, WOKEN, WRITABLE, retried
from .accepting import accept_all
from .packets import packets_have_room, receive_packets
from .phases import check_for_reset, free_slot, give_up
from .pollers import BOTH, READ, WRITE
from .reading import found_nothing, read_failed, read_on, read_once, take_end
from .sending import send_queued
from .slot import CONNECTING, MISSED, PacketSlot, Role, Slot
from .sockets import AT_ONCE
from .starts import take_connected
from .state import State


def serve_ready(state: State, ready: Iterable[tuple[int, int]]) -> None:
    events, slots, buffers = state.events.current, state.by_fd, state.buffers
    places, place = buffers.places, buffers.place
    number, end = buffers.next_place, state.end_of_places()
    for fd, mask in ready:
        try:
            slot = slots[fd]
        except KeyError:  # it was closed meanwhile
            if fd == state.waker.fd:
                state.waker.take()
                state.events.emit((0, WOKEN, 0, 0))
                end = state.end_of_places()
            continue
        if mask == slot.plain and number < end:
            # The way of nearly every message: `read_once`, without the call.
            try:
                count = slot.sock.recv_into(places[number], 0, AT_ONCE)
                if count:
                    events.append((slot.handle, DATA, number * place, count))
                    number += 1 if count <= place else -(-count // place)
                    continue
                take_end(state, slot)
            except OSError as error:
                read_failed(state, slot, error)
            except MemoryError:
                retried(give_up, state, slot)
            buffers.next_place = number
        else:
            buffers.next_place = number
            _serve(state, slot, mask)
            number = buffers.next_place
        end = state.end_of_places()
    buffers.next_place = number


def serve_put_off(state: State) -> None:
    """What was put off comes before what is late, but not before what is late of the same handle.

    Slots for which no room is left are not looked at: a turn costs no more for a longer line.
    """
    events, line = state.events, state.unserved
    events.serve_put_off()
    line.extend(state.half_read)
    state.half_read.clear()
    for _ in range(len(line)):
        if not state.has_room():
            break
        slot = line.popleft()
        mask, slot.put_off = slot.put_off, 0
        if events.late and events.owes(slot.handle):
            state.put_off(slot, mask)
        else:
            _serve(state, slot, mask)
    events.put_off_served()


def _serve(state: State, slot: Slot, mask: int) -> None:
    """Read or write what is ready, or keep it for the next turn where no room is left."""
    if mask & ~BOTH:
        mask = BOTH
    wanted = slot.wanted()  # it may have changed since the poller looked
    if slot.edge and mask & READ and not wanted & READ:
        slot.marks |= MISSED
    mask &= wanted
    if not mask:
        if slot.peer_ended:
            check_for_reset(state, slot)
        return
    try:
        if not state.has_room():
            _serve_later(state, slot, mask)
        elif slot.role is Role.STREAM:
            _serve_stream(state, slot, mask)
        elif slot.role is Role.LISTENER:
            accept_all(state, slot)
        elif isinstance(slot, PacketSlot):
            _serve_packets(state, slot, mask)
        else:
            _answer_poll(state, slot, mask)
    except MemoryError:
        retried(give_up, state, slot)


def _serve_later(state: State, slot: Slot, mask: int) -> None:
    """There is no room for what is read or reported; but what is sent needs none."""
    if mask & WRITE and slot.carries_data() and not slot.marks & CONNECTING:
        if isinstance(slot, PacketSlot):
            packets_have_room(state, slot)
        else:
            send_queued(state, slot)
        mask &= READ & slot.wanted()
    if mask:
        state.put_off(slot, mask)


def _serve_stream(state: State, slot: Slot, mask: int) -> None:
    if slot.marks & CONNECTING:
        take_connected(state, slot)
        return
    if mask & WRITE:
        send_queued(state, slot)
    if not (mask & READ and slot.wanted() & READ):
        return
    if slot.edge:
        if not slot.put_off & READ:  # else it had its chunk, and the poller reported more
            read_on(state, slot)
    elif state.has_room():  # what was written may have taken it
        read_once(state, slot)
    else:
        state.put_off(slot, READ)


def _serve_packets(state: State, slot: PacketSlot, mask: int) -> None:
    if mask & WRITE:
        packets_have_room(state, slot)
    if mask & READ:
        events = state.events
        before = len(events.current) + len(events.late)
        receive_packets(state, slot)
        if len(events.current) + len(events.late) == before and state.has_packet_room():
            found_nothing(state, slot)


def _answer_poll(state: State, slot: Slot, mask: int) -> None:
    found = (READABLE if mask & READ else 0) | (WRITABLE if mask & WRITE else 0)
    free_slot(state, slot, GRACEFUL)
    state.events.emit((slot.handle, READY, found or FAILED, 0))
