"""The fallback backend: the completion contract on top of a poller.

The law of this file: verbs only enqueue; `turn` does what was asked for, then serves what is
ready. The contract itself is written in `engine/base/contract.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from errno import ENOMEM
from typing import Any, Final

from ..completion import (
    CLOSE_MODES,
    CLOSED,
    GENERATION_MASK,
    INDEX_BITS,
    INDEX_MASK,
    NOW,
    Bounds,
    Event,
    even_out,
    retried,
)
from . import starts, verbs
from .packets import retry_due, send_packet
from .phases import break_slot, end_slot, give_up
from .pollers import Poller, pending
from .sending import send_pieces
from .serving import serve_put_off, serve_ready
from .state import State

_LONGEST_WAIT: Final = 1e6  # seconds: epoll counts milliseconds in an int

Do = Callable[[State, int, Any], None]


class FallbackBackend:
    """One poller. See `engine.base.contract.Backend` for what each method promises."""

    def __init__(self, poller: Poller, bounds: Bounds) -> None:
        self.name = poller.name
        self.nonblocking = True
        self.state = state = State(poller, bounds)
        self.capacity = state.capacity
        self.memory = state.buffers.memory
        self.staged = state.staged
        self.sent = state.sent
        self._todo: list[tuple[Do, int, Any]] = []
        self._targets: list[int] = []
        self._pieces: list[bytes] = []
        self._begun: set[int] = set()  # indexes that are started in the next turn
        self.outbox = (self._targets, self._pieces)
        # No more than one turn can serve: what is left out comes first the next time.
        self._ready_at_once = min(bounds.events, len(state.buffers.places))
        self.wake = state.waker.wake

    # The verbs: each only enqueues

    def _start(self, do: Do, handle: int, argument: Any) -> None:
        index = handle & INDEX_MASK
        if not 0 < handle >> INDEX_BITS <= GENERATION_MASK or index >= self.capacity:
            raise ValueError(f"handle {handle:#x} is out of range: {self.capacity} slots")
        if index in self.state.by_index or index in self._begun:
            raise ValueError(f"index {index} is in use: wait for the final event of its handle")
        self._begun.add(index)
        try:
            self._ask(do, handle, argument)
        except BaseException:
            self._begun.discard(index)
            raise

    @staticmethod
    def _check_bytes(what: str, data: object) -> None:
        if not isinstance(data, bytes):
            raise TypeError(f"{what} is bytes, not {type(data).__name__}: make it so with bytes()")

    def listen(self, handle: int, fd: int) -> None:
        self._start(starts.listen, handle, fd)

    def adopt(self, handle: int, fd: int) -> None:
        self._start(starts.adopt, handle, fd)

    def adopt_packets(self, handle: int, fd: int) -> None:
        self._start(starts.adopt_packets, handle, fd)

    def connect(self, handle: int, fd: int, address: bytes) -> None:
        self._check_bytes("an address", address)
        self._start(starts.connect, handle, (fd, address))

    def poll(self, handle: int, fd: int, mask: int) -> None:
        self._start(starts.poll, handle, (fd, mask))

    def send(self, handle: int, data: bytes) -> None:
        self._check_bytes("what is sent", data)
        try:
            self._targets.append(handle)
            self._pieces.append(data)
        except BaseException:
            retried(even_out, self._targets, self._pieces)
            raise

    def send_to(self, handle: int, data: bytes, address: bytes = b"") -> None:
        self._check_bytes("a packet", data)
        self._check_bytes("an address", address)
        self._ask(send_packet, handle, (data, address))

    def _ask(self, do: Do, handle: int, argument: Any) -> None:
        """Do something in the next turn, after what is in the outbox."""
        if self._targets:
            taken = self._targets.copy(), self._pieces.copy()
            self._todo.append((send_pieces, 0, taken))  # first: there may be no memory for it
            self._targets.clear()
            self._pieces.clear()
        self._todo.append((do, handle, argument))

    def notify(self, handle: int) -> None:
        self._ask(verbs.notify, handle, None)

    def pause(self, handle: int) -> None:
        self._ask(verbs.pause, handle, True)

    def resume(self, handle: int) -> None:
        self._ask(verbs.pause, handle, False)

    def shutdown(self, handle: int) -> None:
        self._ask(verbs.shutdown, handle, None)

    def close(self, handle: int, mode: int) -> None:
        if mode not in CLOSE_MODES:
            raise ValueError(f"close mode {mode!r} is none of GRACEFUL, NOW, RESET, LEAVE")
        self._ask(verbs.close, handle, mode)

    def pending(self, handle: int) -> int:
        slot = self.state.slots.get(handle)
        return 0 if slot is None or slot.sock is None else pending(slot.fd)

    # The turn

    def turn(self, timeout: float | None) -> Iterable[Event]:
        current: list[Event] = []
        found = iter(current)  # now, since there may be no memory for it later
        state = self.state
        events, unserved = state.events, state.unserved
        try:
            state.buffers.next_place = state.buffers.next_packet = 0
            events.begin(current, spares_a_place=bool(unserved))
            if self._todo:
                self._do_what_was_asked()
            if self._targets:
                send_pieces(state, 0, self.outbox)
                self._targets.clear()
                self._pieces.clear()
            retries = state.retries
            if retries.slots:
                retry_due(state)
            if events.late:
                events.fill_up()
            if retries.slots:
                timeout = retries.timeout(timeout)
            if unserved or state.half_read:
                serve_put_off(state)
                timeout = 0
            elif current:
                timeout = 0
            elif timeout is not None and timeout > _LONGEST_WAIT:
                timeout = _LONGEST_WAIT
            serve_ready(state, state.poller.wait(timeout, self._ready_at_once))
        except MemoryError:
            state.put_off_edges()
            if not current:
                raise
        return found

    def _do_what_was_asked(self) -> None:
        todo = iter(self._todo)  # first: there may be no memory for it
        self._todo = []
        for do, handle, argument in todo:
            try:
                do(self.state, handle, argument)
            except MemoryError:
                retried(self._cannot_do, do, handle, argument)
        self._begun.clear()

    def _cannot_do(self, do: Do, handle: int, argument: Any) -> None:
        """A verb found no memory: what it was for is broken off, and nothing else is lost."""
        state = self.state
        slot = state.slots.get(handle)
        if slot is not None and do is verbs.close:
            slot.error = ENOMEM
            end_slot(state, slot, max(argument, NOW))  # how far it has come is not known
        elif slot is not None and do in starts.VERBS:  # half begun: nothing else is known of it
            break_slot(state, slot, ENOMEM)
        elif slot is not None:
            give_up(state, slot)
        elif handle & INDEX_MASK in self._begun:  # it was to begin
            state.events.emit((handle, CLOSED, 0, -ENOMEM))
            if do is not starts.poll:
                with suppress(OSError):
                    os.close(argument if isinstance(argument, int) else argument[0])

    def wake_other(self, other: Any) -> None:
        other.wake()

    def dispose(self) -> None:
        state = self.state
        state.waker.silence()
        for slot in list(state.slots.values()):
            end_slot(state, slot, NOW)
        self._todo.clear()
        state.poller.close()
        state.waker.close()
        state.buffers.release()
        state.staged.release()
