"""The way of a handle through its phases: watched, drained, broken, and its final event.

The law of this file: a handle ends exactly once. Its descriptor is closed when it is no longer
watched, and CLOSED is its last event. The interest of the poller follows from the slot's state, so
nothing sets it by hand.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from errno import EBADF, ENOMEM, ENOTCONN

from ..completion import CLOSED, DRAINED, ERROR, GRACEFUL, NOW, SHUT, STALLED, retried
from .pollers import READ
from .slot import CONNECTING, NEVER, Phase, PollSlot, Role, Slot
from .sockets import pending_error, prepare_close
from .state import State


def watch(state: State, slot: Slot) -> None:
    """Give the poller the interest that follows from the slot's state."""
    wanted = slot.watched()
    slot.plain = slot.plain_mask() if wanted == READ else NEVER
    if wanted == slot.interest:
        return
    old, slot.interest = slot.interest, wanted
    try:
        try:
            state.poller.change(slot.fd, old, wanted)
        except MemoryError:
            retried(state.poller.change, slot.fd, old, wanted)
    except OSError as error:
        slot.interest = 0
        slot.plain = NEVER
        break_slot(state, slot, error.errno or ENOTCONN)


def drained(state: State, slot: Slot) -> None:
    """Nothing is queued: do what waited for that."""
    if slot.broken or slot.marks & CONNECTING:
        return
    if slot.notify:
        slot.notify = False
        event = (slot.handle, DRAINED, 0, 0)
        if not state.events.is_late(event):
            state.events.emit(event)
    if slot.phase is Phase.FLUSHING or (slot.fin and slot.phase is Phase.OPEN):
        _end_our_side(state, slot)


def _end_our_side(state: State, slot: Slot) -> None:
    if not slot.has_end:
        end_slot(state, slot)
        return
    try:
        slot.sock.shutdown(socket.SHUT_WR)
    except OSError as error:
        # It fails where the peer's reset came first, which the next read finds.
        if error.errno != ENOTCONN:
            break_slot(state, slot, error.errno or ENOTCONN)
            return
    if slot.phase is Phase.FLUSHING:
        if slot.peer_ended:
            end_slot(state, slot)
            return
        slot.phase = Phase.LINGERING
    state.events.emit((slot.handle, SHUT, 0, 0))


def stall(state: State, slot: Slot, number: int) -> None:
    """Rest until `resume`: the system has nothing for newcomers."""
    slot.paused = True
    watch(state, slot)
    state.events.emit((slot.handle, STALLED, -number, 0))


def give_up(state: State, slot: Slot) -> None:
    """There was no memory to serve it."""
    if slot.role is Role.LISTENER:
        stall(state, slot, ENOMEM)
    elif slot.role is not Role.PACKETS or slot.has_end:  # a datagram may be lost
        break_slot(state, slot, ENOMEM)


def break_slot(state: State, slot: Slot, number: int) -> None:
    """It has failed, with that errno."""
    if slot.broken or slot.phase is Phase.ENDED:
        return
    event = (slot.handle, ERROR, -number, 0)  # first: there may be no memory for it
    slot.broken = True
    slot.error = number
    if slot.role is Role.POLL or slot.phase is not Phase.OPEN:
        end_slot(state, slot, NOW)
        return
    watch(state, slot)
    state.events.emit(event)


def check_for_reset(state: State, slot: Slot) -> None:
    """The peer has ended its side, so nothing is read: has it reset the connection?"""
    number = 0 if slot.paused or slot.broken else pending_error(slot.sock)
    if number:
        break_slot(state, slot, number)


def end_slot(state: State, slot: Slot, mode: int = GRACEFUL) -> None:
    """The end of any handle but one of a poll that was answered."""
    if slot.phase is Phase.ENDED:
        return
    event = (slot.handle, CLOSED, state.staged[slot.index], -slot.error)  # before: as above
    free_slot(state, slot, mode)
    state.staged[slot.index] = 0
    state.events.emit(event)


def free_slot(state: State, slot: Slot, mode: int) -> None:
    """Stop watching, free the handle, and close the descriptor."""
    slot.phase = Phase.ENDED
    watch(state, slot)
    del state.slots[slot.handle]
    del state.by_index[slot.index]
    if state.by_fd.get(slot.fd) is slot:  # not where the descriptor is invalid
        del state.by_fd[slot.fd]
    _close_fd(slot, mode)


def _close_fd(slot: Slot, mode: int) -> None:
    if isinstance(slot, PollSlot) and not slot.owns_fd:
        return
    if slot.error == EBADF:  # it was closed elsewhere, and the number may be a stranger's now
        if slot.sock is not None:
            slot.sock.detach()
        return
    with suppress(OSError, OverflowError):  # a number that is no descriptor
        if slot.sock is None:
            os.close(slot.fd)
            return
        if slot.has_end:
            prepare_close(slot.sock, mode)
        slot.sock.close()
