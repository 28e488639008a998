"""How handles of the fallback backend start: listening, adopted, connecting, polled.

The law of this file: a descriptor that cannot be used is the error of its own handle.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from errno import EAGAIN, EBADF, EINPROGRESS, EINTR, EINVAL, ENOTCONN, EWOULDBLOCK
from functools import partial
from typing import TYPE_CHECKING, Final

from ..completion import CONNECTED, INDEX_MASK, READABLE, WRITABLE, Event
from ..sockaddr import tells_local
from .addresses import NO_ADDRESS, address_of
from .pollers import READ, WRITE
from .slot import Role, Slot
from .sockets import of_connecting, of_listener, of_packets, of_stream, pending_error

NO_FD: Final = -1
_HIGHEST_FD: Final = 0x7FFFFFFF
_REORDERING: Final = (socket.AF_INET, socket.AF_INET6)  # networks may
# Windows begins to connect with it.
EWOULDBLOCK_THERE: Final = EWOULDBLOCK if EWOULDBLOCK != EAGAIN else EINPROGRESS


class Starts:
    """The part of `Operations` that starts handles."""

    if TYPE_CHECKING:  # what Operations has
        _by_fd: dict[int, Slot]
        _by_index: dict[int, Slot]
        _edge_chunk: int
        _slots: dict[int, Slot]

        def _break(self, slot: Slot, number: int) -> None: ...
        def _drained(self, slot: Slot) -> None: ...
        def _emit(self, event: Event) -> None: ...
        def _on_writable(self, slot: Slot) -> None: ...
        def _watch(self, slot: Slot) -> None: ...

    def _start(self, handle: int, fd: int, role: Role) -> Slot:
        index = handle & INDEX_MASK
        fd = _checked(fd)
        slot = Slot(handle, index, fd, role)
        self._slots[handle] = self._by_index[index] = self._by_fd[fd] = slot
        return slot

    def _take(self, slot: Slot, make: Callable[[int], socket.socket]) -> bool:
        """Make the socket object; else the handle is broken."""
        try:
            slot.sock = make(slot.fd)
        except OSError as error:
            self._break(slot, error.errno or EBADF)
        except (ValueError, OverflowError):
            self._break(slot, EBADF)
        return slot.sock is not None

    def _do_listen(self, handle: int, fd: int) -> None:
        slot = self._start(handle, fd, Role.LISTENER)
        if self._take(slot, of_listener):
            self._watch(slot)

    def _do_adopt(self, handle: int, fd: int) -> None:
        slot = self._start(handle, fd, Role.STREAM)
        if self._take(slot, of_stream):
            slot.edge = self._edge_chunk > 0
            self._watch(slot)

    def _do_adopt_packets(self, handle: int, fd: int) -> None:
        slot = self._start(handle, fd, Role.PACKETS)
        if self._take(slot, of_packets):
            slot.has_end = slot.sock.type == getattr(socket, "SOCK_SEQPACKET", None)
            slot.tells_local = tells_local(slot.sock)
            slot.is_ordered = not slot.has_end and slot.sock.family not in _REORDERING
            self._watch(slot)

    def _do_connect(self, handle: int, argument: tuple[int, bytes]) -> None:
        fd, packed = argument
        slot = self._start(handle, fd, Role.STREAM)
        family, address = address_of(packed)
        if not self._take(slot, partial(of_connecting, family=family)):
            return
        slot.connecting = True
        try:
            slot.sock.connect(address)
        except NO_ADDRESS:
            self._break(slot, EINVAL)
        except OSError as error:
            # EAGAIN is no EINPROGRESS: a Unix listener's backlog is full, or no port is free.
            if error.errno in (EINPROGRESS, EWOULDBLOCK_THERE, EINTR):
                self._watch(slot)
            else:
                self._break(slot, error.errno or ENOTCONN)
        else:
            self._on_connected(slot)

    def _on_connected(self, slot: Slot) -> None:
        error = pending_error(slot.sock)
        if error:
            self._break(slot, error)
            return
        slot.connecting = False
        slot.edge = self._edge_chunk > 0
        self._emit((slot.handle, CONNECTED, 0, 0))
        if slot.queue:
            self._on_writable(slot)
        else:
            self._drained(slot)
        self._watch(slot)

    def _do_poll(self, handle: int, argument: tuple[int, int]) -> None:
        fd, mask = _checked(argument[0]), argument[1]
        if fd == NO_FD:
            self._break(self._start(handle, fd, Role.POLL), EBADF)
            return
        is_taken = fd in self._by_fd  # interest is keyed by descriptor: it gets one of its own
        try:
            own = os.dup(fd) if is_taken else fd
        except OSError as error:
            self._break(self._start(handle, NO_FD, Role.POLL), error.errno or ENOTCONN)
            return
        slot = self._start(handle, own, Role.POLL)
        slot.owns_fd = is_taken
        slot.mask = (READ if mask & READABLE else 0) | (WRITE if mask & WRITABLE else 0)
        self._watch(slot)


def _checked(fd: int) -> int:
    """Itself, or NO_FD: of what is no int of C Python's calls may take the lower bits."""
    return fd if 0 <= fd <= _HIGHEST_FD else NO_FD
