"""The io_uring backend: the completion contract kept by the C core.

The law of this file: one C call a turn. Verbs append to one list; `turn` joins it to one block,
and takes the events apart in C. The contract itself is written in `engine/base/contract.py`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from errno import errorcode
from operator import length_hint
from struct import Struct
from threading import RLock
from typing import Any, Final

from ..completion import (
    CLOSE_MODES,
    GENERATION_MASK,
    INDEX_BITS,
    INDEX_MASK,
    RETRY_PERIOD,
    Bounds,
    Event,
    even_out,
    retried,
)
from ._ring import ffi, lib
from .outbox import Outbox

_COMMAND: Final = Struct("3q").pack  # operation, handle, argument
_WORD: Final = Struct("q").pack
_SEND_TO_HEAD: Final = Struct("4q").pack  # operation, handle, bytes, bytes of the address
_EVENTS: Final = Struct("4q")
_NO_FD: Final = 0xFFFFFFFF  # in the lower half of the word of a poll
_ONE: Final = (1).to_bytes(8, sys.byteorder)  # what eventfd(2) adds to its counter
_FOR_EVER: Final = 1e9  # seconds; a longer wait is one without an end

_LISTEN: Final = lib.RN_LISTEN
_ADOPT: Final = lib.RN_ADOPT
_CONNECT: Final = lib.RN_CONNECT
_NOTIFY: Final = lib.RN_NOTIFY
_PAUSE: Final = lib.RN_PAUSE
_RESUME: Final = lib.RN_RESUME
_SHUTDOWN: Final = lib.RN_SHUTDOWN
_CLOSE: Final = lib.RN_CLOSE
_POLL: Final = lib.RN_POLL
_ADOPT_PACKETS: Final = lib.RN_ADOPT_PACKETS
_SEND_TO: Final = lib.RN_SEND_TO
_WAKE_OTHER: Final = lib.RN_WAKE_OTHER


def _check_bytes(what: str, data: object) -> None:
    """Of anything else the length need not be the number of bytes, or may change."""
    if not isinstance(data, bytes):
        raise TypeError(f"{what} is bytes, not {type(data).__name__}: make it so with bytes()")


def _power_of_two(n: int) -> int:
    """The least power of two that is n or more: the kernel takes no other ring of buffers."""
    return 1 << (n - 1).bit_length()


class UringBackend:
    """One io_uring. See `engine.base.contract.Backend` for what each method promises.

    `setup_mask` says which IORING_SETUP flags may be used; tests step down with it to what older
    kernels have. Raises OSError where no ring can be made; `probe.py` explains why.
    """

    name: Final = "io_uring"
    nonblocking: Final = False

    def __init__(self, bounds: Bounds, setup_mask: int = 0xFFFFFFFF) -> None:
        self.capacity = bounds.slots
        self._commands: list[bytes] = []
        self._outbox = Outbox()
        self._targets = self._outbox.handles
        self.outbox = (self._outbox.handles, self._outbox.pieces)
        self._core = self._open(bounds, setup_mask)
        shared = lib.rn_share(self._core)
        self._shared = shared
        # A look at it costs a tenth of one at the structure.
        count = ffi.addressof(shared.pinned, "count")
        self._pinned = memoryview(ffi.buffer(count, 8)).cast("q")
        shared.memory_is_shared = 1
        size = shared.memory_size
        unmap = lib.rn_unmap  # `lib` is gone when the interpreter ends
        mapped = ffi.gc(shared.memory, lambda at: unmap(at, size))
        self.memory = ffi.buffer(mapped, size)  # which keeps it for those that look at it too late
        self.staged = memoryview(ffi.buffer(shared.staged, bounds.slots * 8)).cast("q")
        self.sent = memoryview(ffi.buffer(shared.sent, bounds.slots * 8)).cast("q")
        self._live = memoryview(ffi.buffer(shared.live, bounds.slots))
        self._events = ffi.buffer(shared.events, bounds.events * _EVENTS.size)
        self._unpack = _EVENTS.iter_unpack
        self._told = 0  # events of the last turn
        self._wake_fd: int = shared.wake_fd
        self._wake_lock = RLock()  # a signal handler may interrupt the thread that holds it
        self._ring_fd: int = shared.ring_fd
        self.setup_flags: int = shared.setup_flags

    @staticmethod
    def _open(bounds: Bounds, setup_mask: int) -> Any:
        wanted = {
            "slots": bounds.slots,
            "events": bounds.events,
            "buffers": _power_of_two(bounds.receive_buffers),
            "buffer_size": bounds.receive_buffer_size,
            "stage_bytes": bounds.stage_bytes,
            "packet_buffers": _power_of_two(bounds.packet_buffers),
            "packet_size": bounds.packet_size,
            "line_packets": bounds.line_packets,
            "line_bytes": bounds.line_bytes,
            "retry_ns": int(RETRY_PERIOD * 1e9),
            "setup_mask": setup_mask,
        }
        out = ffi.new("struct rn_core **")
        result = lib.rn_open(ffi.new("struct rn_bounds *", wanted), out)
        if result < 0:
            raise OSError(-result, f"no io_uring can be made: {os.strerror(-result)}")
        return out[0]

    def _start(self, operation: int, handle: int, argument: int, more: bytes = b"") -> None:
        index = handle & INDEX_MASK
        if not 0 < handle >> INDEX_BITS <= GENERATION_MASK or index >= self.capacity:
            raise ValueError(f"handle {handle:#x} is out of range: {self.capacity} slots")
        if self._live[index]:
            raise ValueError(f"index {index} is in use: wait for the final event of its handle")
        if self._targets:
            self._take_outbox()
        self._commands.append(_COMMAND(operation, handle, argument) + more)
        self._live[index] = 1  # so that it is not started twice in a turn

    def _command(self, operation: int, handle: int, argument: int) -> None:
        if self._targets:
            self._take_outbox()
        self._commands.append(_COMMAND(operation, handle, argument))

    def _take_outbox(self) -> None:
        self._commands.append(b"")  # first, since there may be no memory for it
        self._commands[-1] = self._outbox.take()

    def listen(self, handle: int, fd: int) -> None:
        self._start(_LISTEN, handle, fd)

    def adopt(self, handle: int, fd: int) -> None:
        self._start(_ADOPT, handle, fd)

    def adopt_packets(self, handle: int, fd: int) -> None:
        self._start(_ADOPT_PACKETS, handle, fd)

    def connect(self, handle: int, fd: int, address: bytes) -> None:
        _check_bytes("an address", address)
        self._start(_CONNECT, handle, fd, _WORD(len(address)) + address)

    def poll(self, handle: int, fd: int, mask: int) -> None:
        self._start(_POLL, handle, mask << 32 | (fd if 0 <= fd < _NO_FD else _NO_FD))

    def send(self, handle: int, data: bytes) -> None:
        _check_bytes("what is sent", data)  # the core reads it from where it is
        targets, pieces = self.outbox
        try:
            targets.append(handle)
            pieces.append(data)
        except BaseException:
            retried(even_out, targets, pieces)
            raise

    def send_to(self, handle: int, data: bytes, address: bytes = b"") -> None:
        _check_bytes("a packet", data)
        _check_bytes("an address", address)
        head = _SEND_TO_HEAD(_SEND_TO, handle, len(data), len(address))
        self._commands += (head, address, data)

    def notify(self, handle: int) -> None:
        self._command(_NOTIFY, handle, 0)

    def pause(self, handle: int) -> None:
        self._command(_PAUSE, handle, 0)

    def resume(self, handle: int) -> None:
        self._command(_RESUME, handle, 0)

    def shutdown(self, handle: int) -> None:
        self._command(_SHUTDOWN, handle, 0)

    def close(self, handle: int, mode: int) -> None:
        if mode not in CLOSE_MODES:
            raise ValueError(f"close mode {mode!r} is none of GRACEFUL, NOW, RESET, LEAVE")
        self._command(_CLOSE, handle, mode)

    def pending(self, handle: int) -> int:
        return int(lib.rn_pending(self._core, handle))

    def turn(self, timeout: float | None) -> Iterable[Event]:
        # One nanosecond more than asked: waking before a timer is due would make the loop spin.
        if timeout is None or timeout > _FOR_EVER:
            wait = -1
        else:
            wait = int(timeout * 1e9) + 1 if timeout > 0 else 0
        commands = self._commands
        if not commands:
            block = self._outbox.take() if self._targets else b""
        else:
            if self._targets:
                self._take_outbox()
            block = b"".join(commands)
            commands.clear()
        count = lib.rn_turn(self._core, block, len(block), wait)
        outbox = self._outbox
        if self._pinned[0] or outbox.pins:
            outbox.settle(self._shared)
        else:
            outbox.lent.clear()
        if count < 0:
            raise self._failure(-count)
        self._told = count
        try:
            return self._unpack(self._events[0 : count * 32])
        except MemoryError:
            return _OneByOne(self._events, 0, count)

    def rest(self, events: Iterator[Event]) -> Iterator[Event]:
        """Those of the turn that could not be taken for lack of memory, from the first on."""
        return _OneByOne(self._events, self._told - length_hint(events) - 1, self._told)

    @staticmethod
    def _failure(number: int) -> OSError:
        name = errorcode.get(number, str(number))
        return OSError(number, f"the io_uring has failed ({name}): {os.strerror(number)}")

    def wake(self) -> None:
        with self._wake_lock:
            if self._wake_fd >= 0:
                os.write(self._wake_fd, _ONE)

    def wake_other(self, other: object) -> None:
        if isinstance(other, UringBackend):
            self._command(_WAKE_OTHER, 0, other._ring_fd)
        else:
            other.wake()  # type: ignore[attr-defined]

    def dispose(self) -> None:
        core, self._core = self._core, None
        if core is None:
            return
        with self._wake_lock:
            self._wake_fd = -1  # from here on the number may be somebody else's
        self._pinned.release()
        self.staged.release()
        self.sent.release()
        self._live.release()
        if lib.rn_dispose(core) < 0:
            self._outbox.leak(self.memory)


class _OneByOne:
    """The events of a turn, where there is no memory for all at once."""

    def __init__(self, events: Any, begin: int, end: int) -> None:
        self._events = events
        self._at = begin * _EVENTS.size
        self._end = end * _EVENTS.size

    def __iter__(self) -> _OneByOne:
        return self

    def __length_hint__(self) -> int:
        return (self._end - self._at) // _EVENTS.size

    def __next__(self) -> Event:
        if self._at == self._end:
            raise StopIteration
        event: Event = retried(_EVENTS.unpack_from, self._events, self._at)
        self._at += _EVENTS.size
        return event
