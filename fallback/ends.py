"""How handles of the fallback backend end: drained, broken, and their final event.

The law of this file: a handle ends exactly once. Its descriptor is closed when it is no longer
watched, and CLOSED is the last that is said of it.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from contextlib import suppress
from errno import EBADF, ENOTCONN
from typing import TYPE_CHECKING

from ..completion import CLOSED, DRAINED, ERROR, GRACEFUL, NOW, SHUT, Event
from .slot import Phase, Role, Slot
from .sockets import pending_error, prepare_close


class Ends:
    """The part of `Operations` that ends handles."""

    if TYPE_CHECKING:  # what Operations has
        staged: memoryview
        _by_fd: dict[int, Slot]
        _by_index: dict[int, Slot]
        _late: deque[Event]
        _slots: dict[int, Slot]
        _spoken: set[int]

        def _emit(self, event: Event) -> None: ...
        def _watch(self, slot: Slot) -> None: ...

    def _drained(self, slot: Slot) -> None:
        """Nothing is queued: do what waited for that."""
        if slot.broken or slot.connecting:
            return
        if slot.notify:
            slot.notify = False
            event = (slot.handle, DRAINED, 0, 0)
            if not (self._late and slot.handle in self._spoken and event in self._late):
                self._emit(event)
        if slot.phase is Phase.FLUSHING or (slot.fin and slot.phase is Phase.OPEN):
            self._end_our_side(slot)

    def _end_our_side(self, slot: Slot) -> None:
        if not slot.has_end:
            self._end(slot)
            return
        try:
            slot.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            # Fails where the peer's reset came first; reading tells that.
            if error.errno != ENOTCONN:
                self._break(slot, error.errno or ENOTCONN)
                return
        if slot.phase is Phase.FLUSHING:
            if slot.peer_ended:
                self._end(slot)
                return
            slot.phase = Phase.LINGERING
        self._emit((slot.handle, SHUT, 0, 0))

    def _break(self, slot: Slot, number: int) -> None:
        if slot.broken or slot.phase is Phase.ENDED:
            return
        event = (slot.handle, ERROR, -number, 0)  # first: there may be no memory for it
        slot.broken = True
        slot.error = number
        if slot.role is Role.POLL or slot.phase is not Phase.OPEN:
            self._end(slot, NOW)
            return
        self._watch(slot)
        self._emit(event)

    def _look_for_error(self, slot: Slot) -> None:
        """The peer has ended its side, so nothing is read: has it reset the connection?"""
        number = 0 if slot.paused or slot.broken else pending_error(slot.sock)
        if number:
            self._break(slot, number)

    def _forget(self, slot: Slot) -> None:
        """Stop watching, and free the handle; its descriptor is still open."""
        slot.phase = Phase.ENDED
        slot.mask = 0
        self._watch(slot)
        del self._slots[slot.handle]
        del self._by_index[slot.index]
        if self._by_fd.get(slot.fd) is slot:  # it is not where the descriptor is none
            del self._by_fd[slot.fd]

    @staticmethod
    def _close_fd(slot: Slot, mode: int) -> None:
        if not slot.owns_fd:
            return
        if slot.error == EBADF:  # somebody has closed it, and the number may be a stranger's now
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

    def _end(self, slot: Slot, mode: int = GRACEFUL) -> None:
        if slot.phase is Phase.ENDED:
            return
        event = (slot.handle, CLOSED, self.staged[slot.index], -slot.error)  # before: as above
        self._forget(slot)
        self._close_fd(slot, mode)
        self.staged[slot.index] = 0
        self._emit(event)
