"""The fallback backend: the completion contract on top of a poller.

The law of this file: verbs only enqueue; `turn` does what was asked for, then serves what is
ready. Reading keeps its interest, level-triggered, so that a message costs one system call to
learn of it and one to read it. The contract itself is written in `engine/backend.py`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from errno import ENOMEM
from functools import partial
from itertools import groupby
from operator import itemgetter
from threading import RLock
from typing import Any, Final

from ..completion import (
    CLOSE_MODES,
    CLOSED,
    DATA,
    GENERATION_MASK,
    INDEX_BITS,
    INDEX_MASK,
    NOW,
    WOKEN,
    Bounds,
    Event,
    retried,
)
from .accepting import accept_all, stall
from .operations import WOULD_BLOCK, Operations
from .packets import receive_packets, retry_due, retry_timeout
from .pollers import BOTH, READ, WRITE, Poller, pending
from .slot import Role, Slot
from .sockets import AT_ONCE, SEND_AT_ONCE

_LONGEST_WAIT: Final = 1e6  # seconds: epoll counts milliseconds in an int


class FallbackBackend(Operations):
    """One poller. See `engine.backend.Backend` for what each method promises."""

    def __init__(self, poller: Poller, bounds: Bounds) -> None:
        super().__init__(poller, bounds)
        self.name = poller.name
        self.nonblocking = True
        self._todo: list[tuple[Callable[[int, Any], None], int, Any]] = []
        self._targets: list[int] = []
        self._pieces: list[bytes] = []
        self._begun: set[int] = set()  # indexes that are started in the next turn
        self.outbox = (self._targets, self._pieces)
        # No more than one turn can serve: who is left out comes first the next time.
        self._ready_at_once = min(bounds.events, len(self._places))
        self._open_wake()

    def _open_wake(self) -> None:
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._wake_fd = self._wakened.fileno()
        self._wake_lock = RLock()  # a handler of a signal may interrupt who holds it
        self._is_woken = False
        self._poller.change(self._wake_fd, 0, READ)

    # The verbs: each only enqueues

    def _check_free(self, handle: int) -> None:
        index = handle & INDEX_MASK
        if not 0 < handle >> INDEX_BITS <= GENERATION_MASK or index >= self.capacity:
            raise ValueError(f"handle {handle:#x} is out of range: {self.capacity} slots")
        if index in self._by_index or index in self._begun:
            raise ValueError(f"index {index} is in use: wait for the final event of its handle")
        self._begun.add(index)

    @staticmethod
    def _check_bytes(what: str, data: object) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"{what} is bytes, not {type(data).__name__}: make it so with bytes()")

    def listen(self, handle: int, fd: int) -> None:
        self._check_free(handle)
        self._ask(self._do_listen, handle, fd)

    def adopt(self, handle: int, fd: int) -> None:
        self._check_free(handle)
        self._ask(self._do_adopt, handle, fd)

    def adopt_packets(self, handle: int, fd: int) -> None:
        self._check_free(handle)
        self._ask(self._do_adopt_packets, handle, fd)

    def connect(self, handle: int, fd: int, address: bytes) -> None:
        self._check_bytes("an address", address)
        self._check_free(handle)
        self._ask(self._do_connect, handle, (fd, address))

    def poll(self, handle: int, fd: int, mask: int) -> None:
        self._check_free(handle)
        self._ask(self._do_poll, handle, (fd, mask))

    def send(self, handle: int, data: bytes) -> None:
        self._check_bytes("what is sent", data)
        self._targets.append(handle)
        self._pieces.append(data)

    def send_to(self, handle: int, data: bytes, address: bytes = b"") -> None:
        self._check_bytes("a packet", data)
        self._check_bytes("an address", address)
        self._ask(self._do_send_to, handle, (data, address))

    def _ask(self, do: Callable[[int, Any], None], handle: int, argument: Any) -> None:
        """Do something in the next turn, after what is in the outbox."""
        if self._targets:
            self._todo.append((self._do_sends, 0, self._take_outbox()))
        self._todo.append((do, handle, argument))

    def _take_outbox(self) -> tuple[list[int], list[bytes]]:
        taken = self._targets.copy(), self._pieces.copy()
        self._targets.clear()
        self._pieces.clear()
        return taken

    def _do_sends(self, _: int, sends: tuple[list[int], list[bytes]]) -> None:
        """Send each piece; those for one handle in a row go out together."""
        try:
            handles, pieces = sends
            if len(set(handles)) < len(handles):
                handles, pieces = self._grouped(handles, pieces)
            pairs = zip(handles, pieces, strict=True)
        except MemoryError:
            pairs = retried(partial(zip, strict=True), *sends)
        do_send = self._do_send
        slots = self._slots
        for handle, data in pairs:
            try:
                slot = slots[handle]
            except KeyError:
                continue  # it has ended
            try:
                if slot.plain != READ:
                    do_send(handle, data)
                    continue
                # The way of nearly every message: `_do_send`, without the call.
                size = len(data)
                slot.accepted += size
                try:
                    sent = slot.sock.send(data, SEND_AT_ONCE)
                except OSError as error:
                    sent = self._send_failed(slot, error)
                if sent != size:
                    self._keep(slot, memoryview(data)[max(0, sent) :])
                    self._watch(slot)
            except MemoryError:
                retried(self._give_up, slot)

    @staticmethod
    def _grouped(handles: list[int], pieces: list[bytes]) -> tuple[list[int], list[bytes]]:
        """The same, with what is for one handle in a row joined."""
        targets: list[int] = []
        joined: list[bytes] = []
        for handle, group in groupby(zip(handles, pieces, strict=True), key=itemgetter(0)):
            targets.append(handle)
            joined.append(b"".join([data for _, data in group]))
        return targets, joined

    def notify(self, handle: int) -> None:
        self._ask(self._do_notify, handle, None)

    def pause(self, handle: int) -> None:
        self._ask(self._do_pause, handle, True)

    def resume(self, handle: int) -> None:
        self._ask(self._do_pause, handle, False)

    def shutdown(self, handle: int) -> None:
        self._ask(self._do_shutdown, handle, None)

    def close(self, handle: int, mode: int) -> None:
        if mode not in CLOSE_MODES:
            raise ValueError(f"close mode {mode!r} is none of GRACEFUL, NOW, RESET, LEAVE")
        self._ask(self._do_close, handle, mode)

    def pending(self, handle: int) -> int:
        slot = self._slots.get(handle)
        return 0 if slot is None or slot.sock is None else pending(slot.fd)

    # The turn

    def turn(self, timeout: float | None) -> Iterable[Event]:
        events: list[Event] = []
        found = iter(events)  # now, since there may be no memory for it later
        self._events = events
        self._next_place = 0
        self.next_packet = 0
        try:
            self._spoken.clear()
            if self._unserved:
                self._keep_a_place()
            if self._late:
                self._emit_late()
            if self._todo:
                self._do_what_was_asked()
            if self._targets:
                self._do_sends(0, self.outbox)
                self._targets.clear()
                self._pieces.clear()
            if self.retries:
                retry_due(self)
            if self._late:
                self._say_late()
            if self.retries:
                timeout = retry_timeout(self, timeout)
            if events or self._unserved or self._half_read:
                timeout = 0
            elif timeout is not None and timeout > _LONGEST_WAIT:
                timeout = _LONGEST_WAIT
            if self._unserved or self._half_read:
                self._serve_unserved()
            self._serve_ready(self._poller.wait(timeout, self._ready_at_once))
        except MemoryError:
            self._put_off_edges()
            if not events:
                raise
        return found

    def _serve_unserved(self) -> None:
        """What was put off comes before what is late, but not before what is late of the same.

        Those for whom no room is left are not looked at: a turn costs no more for a longer line.
        """
        self._limit = self._most
        self._overtakes = True
        line = self._unserved
        line.extend(self._half_read)
        self._half_read.clear()
        for _ in range(len(line)):
            if not self._has_room():
                break
            slot = line.popleft()
            mask, slot.put_off = slot.put_off, 0
            if self._late and self._is_late(slot.handle):
                self._put_off(slot, mask, self._unserved)
            else:
                self._serve(slot, mask)
        self._overtakes = False
        if self._late:
            self._say_late()

    def _do_what_was_asked(self) -> None:
        todo = iter(self._todo)  # first: there may be no memory for it
        self._todo = []
        for do, handle, argument in todo:
            try:
                do(handle, argument)
            except MemoryError:
                retried(self._cannot_do, do, handle, argument)
        self._begun.clear()

    # No memory: what it was for is broken off, and nothing else is lost

    def _cannot_do(self, do: Callable[[int, Any], None], handle: int, argument: Any) -> None:
        """A verb found no memory."""
        slot = self._slots.get(handle)
        if slot is not None and do == self._do_close:
            slot.error = ENOMEM
            self._end(slot, max(argument, NOW))  # how far it has come is not known
        elif slot is not None:
            self._give_up(slot)
        elif handle & INDEX_MASK in self._begun:  # it was to begin
            self._emit((handle, CLOSED, 0, -ENOMEM))
            if do != self._do_poll:
                with suppress(OSError):
                    os.close(argument if isinstance(argument, int) else argument[0])

    def _give_up(self, slot: Slot) -> None:
        """There was no memory to serve it."""
        if slot.role is Role.LISTENER:
            stall(self, slot, ENOMEM)
        elif slot.role is not Role.PACKETS or slot.has_end:  # a datagram may be lost
            self._break(slot, ENOMEM)

    def _serve_ready(self, ready: Iterable[tuple[int, int]]) -> None:
        events, slots = self._events, self._by_fd
        places, place = self._places, self._place
        number, end = self._next_place, self._end_of_places()
        for fd, mask in ready:
            try:
                slot = slots[fd]
            except KeyError:  # it was closed meanwhile
                if fd == self._wake_fd:
                    self._on_woken()
                    end = self._end_of_places()
                continue
            if mask == slot.plain and number < end:
                # The way of nearly every message: `_on_readable`, without the call.
                try:
                    count = slot.sock.recv_into(places[number], 0, AT_ONCE)
                    if count:
                        events.append((slot.handle, DATA, number * place, count))
                        number += 1 if count <= place else -(-count // place)
                        continue
                    self._on_end(slot)
                except OSError as error:
                    self._read_failed(slot, error)
                except MemoryError:
                    retried(self._give_up, slot)
                self._next_place = number
            else:
                self._next_place = number
                self._serve(slot, mask)
                number = self._next_place
            end = self._end_of_places()
        self._next_place = number

    def _serve(self, slot: Slot, mask: int) -> None:
        """Read or write what is ready, or keep it for the next turn where no room is left."""
        if mask & ~BOTH:
            mask = BOTH
        wanted = slot.wanted()  # it may have changed since the poller looked
        if slot.edge and mask & READ and not wanted & READ:
            slot.missed = True
        mask &= wanted
        if not mask:
            if slot.peer_ended:
                self._look_for_error(slot)
            return
        try:
            if not self._has_room():
                self._serve_later(slot, mask)
            elif slot.role is Role.STREAM:
                self._serve_stream(slot, mask)
            elif slot.role is Role.LISTENER:
                accept_all(self, slot)
            elif slot.role is Role.PACKETS:
                self._serve_packets(slot, mask)
            else:
                self._on_ready(slot, mask)
        except MemoryError:
            retried(self._give_up, slot)

    def _serve_stream(self, slot: Slot, mask: int) -> None:
        if slot.connecting:
            self._on_connected(slot)
            return
        if mask & WRITE:
            self._on_writable(slot)
        if not (mask & READ and slot.wanted() & READ):
            return
        if slot.edge:
            if not slot.put_off & READ:  # else it had its chunk, and the poller told of more
                self._read_on(slot)
        elif self._has_room():  # what was written may have taken it
            self._on_readable(slot)
        else:
            self._put_off(slot, READ, self._unserved)

    def _serve_packets(self, slot: Slot, mask: int) -> None:
        if mask & WRITE:
            self._on_writable(slot)
        if mask & READ:
            before = len(self._events) + len(self._late)
            receive_packets(self, slot)
            if len(self._events) + len(self._late) == before and self.has_packet_room():
                self._found_nothing(slot)

    def _on_woken(self) -> None:
        with self._wake_lock:
            # In this order: who wakes between the two is told of by the event.
            with suppress(*WOULD_BLOCK):
                self._wakened.recv(64)
            self._is_woken = False
        self._emit((0, WOKEN, 0, 0))

    def wake(self) -> None:
        with self._wake_lock:
            if not self._is_woken:
                self._is_woken = True
                self._waker.send(b"\0", SEND_AT_ONCE)

    def wake_other(self, other: Any) -> None:
        other.wake()

    def dispose(self) -> None:
        with self._wake_lock:
            self._is_woken = True  # from here on nobody need wake it
        for slot in list(self._slots.values()):
            self._end(slot, NOW)
        self._todo.clear()
        self._poller.close()
        self._waker.close()
        self._wakened.close()
        for view in (*self._places, *self.packet_views, self._view, self.staged):
            view.release()
