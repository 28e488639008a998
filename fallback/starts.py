"""How handles of the fallback backend start: listening, adopted, connecting, polled.

The law of this file: a descriptor that cannot be used is the error of its own handle.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from errno import EAGAIN, EBADF, EINPROGRESS, EINTR, EINVAL, ENOTCONN, EWOULDBLOCK
from functools import partial
from typing import Final, TypeVar

from ..completion import CONNECTED, INDEX_MASK, READABLE, WRITABLE
from ..sockaddr import tells_local
from .addresses import NO_ADDRESS, address_of
from .phases import break_slot, drained, watch
from .pollers import READ, WRITE
from .sending import send_queued
from .slot import CONNECTING, PacketSlot, PollSlot, Role, Slot
from .sockets import of_connecting, of_listener, of_packets, of_stream, pending_error
from .state import State

S = TypeVar("S", bound=Slot)

_NO_FD: Final = -1
_HIGHEST_FD: Final = 0x7FFFFFFF
_REORDERING: Final = (socket.AF_INET, socket.AF_INET6)  # networks may
# With it Windows reports that connecting has begun.
_EWOULDBLOCK_THERE: Final = EWOULDBLOCK if EWOULDBLOCK != EAGAIN else EINPROGRESS


def _start(state: State, handle: int, fd: int, role: Role) -> Slot:
    return _entered(state, Slot(handle, handle & INDEX_MASK, _checked(fd), role))


def _entered(state: State, slot: S) -> S:
    state.slots[slot.handle] = state.by_index[slot.index] = state.by_fd[slot.fd] = slot
    return slot


def _take(state: State, slot: Slot, make: Callable[[int], socket.socket]) -> bool:
    """Make the socket object; else the handle is broken."""
    try:
        slot.sock = make(slot.fd)
    except OSError as error:
        break_slot(state, slot, error.errno or EBADF)
    except (ValueError, OverflowError):
        break_slot(state, slot, EBADF)
    return slot.sock is not None


def listen(state: State, handle: int, fd: int) -> None:
    slot = _start(state, handle, fd, Role.LISTENER)
    if _take(state, slot, of_listener):
        watch(state, slot)


def adopt(state: State, handle: int, fd: int) -> None:
    slot = _start(state, handle, fd, Role.STREAM)
    if _take(state, slot, of_stream):
        slot.edge = state.edge_chunk > 0
        watch(state, slot)


def adopt_packets(state: State, handle: int, fd: int) -> None:
    slot = _entered(state, PacketSlot(handle, handle & INDEX_MASK, _checked(fd)))
    if _take(state, slot, of_packets):
        slot.has_end = slot.sock.type == getattr(socket, "SOCK_SEQPACKET", None)
        slot.tells_local = tells_local(slot.sock)
        slot.is_ordered = not slot.has_end and slot.sock.family not in _REORDERING
        watch(state, slot)


def connect(state: State, handle: int, argument: tuple[int, bytes]) -> None:
    fd, packed = argument
    slot = _start(state, handle, fd, Role.STREAM)
    family, address = address_of(packed)
    if not _take(state, slot, partial(of_connecting, family=family)):
        return
    slot.marks |= CONNECTING
    try:
        slot.sock.connect(address)
    except NO_ADDRESS:
        break_slot(state, slot, EINVAL)
    except OSError as error:
        # EAGAIN is no EINPROGRESS: a Unix listener's backlog is full, or no port is free.
        if error.errno in (EINPROGRESS, _EWOULDBLOCK_THERE, EINTR):
            watch(state, slot)
        else:
            break_slot(state, slot, error.errno or ENOTCONN)
    else:
        take_connected(state, slot)


def take_connected(state: State, slot: Slot) -> None:
    error = pending_error(slot.sock)
    if error:
        break_slot(state, slot, error)
        return
    slot.marks &= ~CONNECTING
    slot.edge = state.edge_chunk > 0
    state.events.emit((slot.handle, CONNECTED, 0, 0))
    if slot.queue:
        send_queued(state, slot)
    else:
        drained(state, slot)
    watch(state, slot)


def poll(state: State, handle: int, argument: tuple[int, int]) -> None:
    fd, mask = _checked(argument[0]), argument[1]
    if fd == _NO_FD:
        break_slot(state, _start_poll(state, handle, fd), EBADF)
        return
    is_taken = fd in state.by_fd  # interest is keyed by descriptor: it gets one of its own
    try:
        own = os.dup(fd) if is_taken else fd
    except OSError as error:
        break_slot(state, _start_poll(state, handle, _NO_FD), error.errno or ENOTCONN)
        return
    slot = _start_poll(state, handle, own)
    slot.owns_fd = is_taken
    slot.mask = (READ if mask & READABLE else 0) | (WRITE if mask & WRITABLE else 0)
    watch(state, slot)


def _start_poll(state: State, handle: int, fd: int) -> PollSlot:
    return _entered(state, PollSlot(handle, handle & INDEX_MASK, fd))


def _checked(fd: int) -> int:
    """Itself, or _NO_FD: Python's calls may take only the lower bits of a larger int."""
    return fd if 0 <= fd <= _HIGHEST_FD else _NO_FD


VERBS: Final = (listen, adopt, adopt_packets, connect, poll)
