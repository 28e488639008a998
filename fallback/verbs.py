"""What the verbs do to a handle that has begun. `starts.py` has those that begin one.

The law of this file: a handle that has ended, or is of another kind, is left alone.
"""

from __future__ import annotations

from ..completion import GRACEFUL, NOW
from .phases import check_for_reset, drained, end_slot, watch
from .reading import read_missed
from .slot import CONNECTING, Phase, Role
from .state import State


def notify(state: State, handle: int, _: None) -> None:
    slot = state.slots.get(handle)
    if slot is None or not slot.carries_data() or slot.phase is not Phase.OPEN:
        return
    slot.notify = True
    if not slot.waits():
        drained(state, slot)


def pause(state: State, handle: int, paused: bool) -> None:
    """And resume."""
    slot = state.slots.get(handle)
    if slot is not None and slot.role is not Role.POLL:
        slot.paused = paused
        watch(state, slot)
        read_missed(state, slot)
        if slot.peer_ended:
            check_for_reset(state, slot)


def shutdown(state: State, handle: int, _: None) -> None:
    slot = state.slots.get(handle)
    if slot is None or not slot.has_end or slot.phase is not Phase.OPEN:
        return
    if not slot.fin:
        slot.fin = True
        watch(state, slot)
        if not slot.waits():
            drained(state, slot)


def close(state: State, handle: int, mode: int) -> None:
    slot = state.slots.get(handle)
    if slot is None or (mode == GRACEFUL and slot.phase is not Phase.OPEN):
        return
    soft = mode == GRACEFUL and slot.carries_data()
    slot.notify = False
    state.events.withdraw(handle)
    if not soft or slot.broken or slot.marks & CONNECTING:
        end_slot(state, slot, max(mode, NOW))
    else:
        slot.phase = Phase.FLUSHING
        if not slot.waits():
            drained(state, slot)
        watch(state, slot)
        read_missed(state, slot)
