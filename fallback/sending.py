"""Bytes of streams on their way out.

The law of this file: try first, and wait for the poller only where the system would block.
"""

from __future__ import annotations

from collections import deque
from errno import ENOBUFS, ENOTCONN
from functools import partial
from itertools import groupby
from operator import itemgetter

from ..completion import retried
from .phases import break_slot, drained, give_up, watch
from .pollers import READ, WRITE
from .slot import CONNECTING, Phase, Role, Slot
from .sockets import SEND_AT_ONCE, WOULD_BLOCK, drop_errors
from .state import State


def send_pieces(state: State, _: int, sends: tuple[list[int], list[bytes]]) -> None:
    """Send each piece; consecutive pieces for one handle go out together."""
    try:
        handles, pieces = sends
        if len(set(handles)) < len(handles):
            handles, pieces = _grouped(handles, pieces)
        pairs = zip(handles, pieces, strict=True)
    except MemoryError:
        pairs = retried(partial(zip, strict=True), *sends)
    slots = state.slots
    for handle, data in pairs:
        try:
            slot = slots[handle]
        except KeyError:
            continue  # it has ended
        try:
            if slot.plain != READ:
                _send(state, slot, data)
                continue
            # The way of nearly every message: `_send`, without the call.
            size = len(data)
            slot.accepted += size
            try:
                sent = slot.sock.send(data, SEND_AT_ONCE)
            except OSError as error:
                sent = _send_failed(state, slot, error)
            if sent != size:
                _keep(state, slot, memoryview(data)[max(0, sent) :])
                watch(state, slot)
        except MemoryError:
            retried(give_up, state, slot)


def _grouped(handles: list[int], pieces: list[bytes]) -> tuple[list[int], list[bytes]]:
    """The same, with consecutive pieces for one handle joined."""
    targets: list[int] = []
    joined: list[bytes] = []
    for handle, group in groupby(zip(handles, pieces, strict=True), key=itemgetter(0)):
        targets.append(handle)
        joined.append(b"".join([data for _, data in group]))
    return targets, joined


def _send(state: State, slot: Slot, data: bytes) -> None:
    if not data or slot.role is not Role.STREAM:
        return
    if _may_send(slot):
        slot.accepted += len(data)
        try:
            sent = slot.sock.send(data, SEND_AT_ONCE)
        except OSError as error:
            sent = _send_failed(state, slot, error)
        if sent != len(data):
            _keep(state, slot, memoryview(data)[max(0, sent) :])
            watch(state, slot)
    elif slot.phase is Phase.OPEN and not slot.fin:
        slot.accepted += len(data)
        _keep(state, slot, memoryview(data))


def _may_send(slot: Slot) -> bool:
    """Nothing is ahead of it, and the stream can take it."""
    ahead = slot.queue or slot.marks & CONNECTING or slot.broken
    return slot.phase is Phase.OPEN and not slot.fin and not ahead


def _keep(state: State, slot: Slot, rest: memoryview) -> None:
    state.staged[slot.index] += len(rest)
    if slot.broken:
        return  # counted as never sent
    if slot.queue is None:
        slot.queue = deque()
    slot.queue.append(rest)


def send_queued(state: State, slot: Slot) -> None:
    """The socket has room."""
    queue = slot.queue
    while queue:
        try:
            sent = slot.sock.send(queue[0], SEND_AT_ONCE)
        except OSError as error:
            sent = _send_failed(state, slot, error)
            if sent < 0:
                return
            if not slot.edge:
                drop_errors(slot.sock)
        state.staged[slot.index] -= sent
        if sent < len(queue[0]):
            queue[0] = queue[0][sent:]
            break
        queue.popleft()
    if not queue:
        slot.queue = None
        drained(state, slot)
    watch(state, slot)


def _send_failed(state: State, slot: Slot, error: OSError) -> int:
    """How many bytes the socket took: 0, or -1 where the stream broke."""
    if isinstance(error, WOULD_BLOCK):
        return 0
    if error.errno == ENOBUFS:  # BSD's send(2): the interface is busy
        if slot.edge:  # the socket has room, so the poller will report no change
            state.put_off(slot, WRITE)
        return 0
    break_slot(state, slot, error.errno or ENOTCONN)
    return -1
