"""A stream: all the state of a connection, its transitions, and the path of a message.

The code here runs for each message, or decides whether the next one may be read; the rest of a
connection is built on it, in classes without state (`reading.py`, `writing.py`, ...).

Ownership of bytes: `bytes` returned by a method are the caller's own, and never change. Data given
to `write` is sent as it is at the call (`bytes` cannot change; anything else is copied).

What has arrived is either the chunk in the receive buffer (`_memory[_offset : _offset + _length]`)
or the elastic buffer `_inbound` with what earlier calls left unread; never both. What is written
goes to the backend's stage, or to the overflow if the stage has no room.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from ...completion import GRACEFUL, INDEX_MASK, LEAVE, NOW, REFERRED_FROM, even_out, retried
from ..base.errors import BufferLimitExceeded, ConnectionClosed, EngineStateError, WrongThread
from ..buffers.buffer import as_bytes, asked_for
from ..buffers.leftovers import KEPT_WHOLE_FROM, Leftovers
from ..buffers.linked_buffer import LinkedBuffer
from ..buffers.ring_buffer import RingBuffer
from .outbound_bound import refusal

if TYPE_CHECKING:
    from ..base.contract import Memory
    from .deadlines import Countdown, Deadlines
    from .origin import Origin
    from .owner import Owner

Callback = Callable[[Any, BaseException | None], object]  # (the connection, what went wrong)
NOTHING: Final = RingBuffer()  # what is inbound once a connection is closing
# The offset of a connection that has received nothing since the last check: beyond all memory, so
# that a slice from there is empty. What arrives overwrites it, at no extra cost.
SILENT: Final = 1 << 62
PEER_ENDED: Final = 1  # EOF has come
END_DUE: Final = 2  # and the handler has not been notified yet
WAKE_DUE: Final = 4  # it was woken while reading was paused
CONGESTED: Final = 8  # more than `high_water` bytes wait, and `on_writable` follows
SHUT: Final = 16  # our side is ended, or will be when the overflow is empty
HELD: Final = 32  # not read because too much is left unread
HAS_DUP: Final = 64  # there is a duplicate of the descriptor, which is to stay connected


class Stream:
    """The state of a connection; for its reactor's thread unless a comment says otherwise."""

    # Identity, unchanged for its whole life
    context: Any  # for the handler's own use
    _loop: Owner  # its reactor
    _origin: Origin  # its listener or client, and so its handler
    _handle: int  # the backend's name for it
    _fd: int  # -1 from CLOSED on
    # The thread that may use it, and 0 once it is closing: so one comparison answers both questions
    # on the path of each message. Written by `_finish`, `_end` and at the reactor's end.
    _owner: int

    _marks: int  # rare conditions: PEER_ENDED and the others above

    # What has arrived
    _memory: Memory  # the backend's receive buffers
    _offset: int  # of the chunk in them; written by each DATA. SILENT: none since the last check
    _length: int  # bytes of the chunk that are not consumed
    _inbound: RingBuffer | Leftovers | None  # unread bytes; None: the chunk is all there is
    _paused: bool  # by the handler

    # What is on its way out
    _targets: list[int]  # the backend's outbox: the handle that a piece is for,
    _pieces: list[bytes]  # and the piece
    _written: int  # bytes passed to the backend; for packets, see `Endpoint`
    _limit: int  # once `_written` exceeds it, writes take the slow path; -1: our side is ended
    _overflow: LinkedBuffer | None  # what the backend had no room for
    _counted: int  # waiting bytes, as counted for `max_buffered`

    # How it ends
    _error: BaseException | None  # for `on_close`; the first error that happens
    _deadlines: Deadlines | None  # the time limits that were set, if any
    _timer: Countdown | None  # while closing: `close_timeout`, then `linger_timeout`
    _on_closed: list[Callback] | None  # callbacks of `close`, called after `on_close`

    # Cached answers of the kernel. Read by any thread.
    _local: Any
    _remote: Any

    __slots__ = tuple(__annotations__)  # a slot for each of the above

    def __init__(self, loop: Owner, handle: int, fd: int, origin: Origin) -> None:
        self.context = None
        self._loop = loop
        self._origin = origin
        self._owner = loop.ident
        self._handle = handle
        self._fd = fd
        self._memory = loop.memory
        self._targets, self._pieces = loop.backend.outbox
        self._offset = SILENT
        self._length = 0
        self._inbound = None
        self._paused = False
        self._written = 0
        self._limit = loop.write_room
        self._overflow = None
        self._counted = 0
        self._marks = 0
        self._deadlines = None
        self._error = None
        self._on_closed = None
        self._timer = None
        self._local = None
        self._remote = None

    # Reading

    def next(self, n: int = -1) -> bytes:
        """Consume and return `n` bytes, or all (-1). Raises ShortBuffer if there are fewer.

        gnet: Next.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._inbound is None:
            length = self._length
            offset = self._offset
            if n == -1 or n == length:
                self._length = 0  # the offset stays: SILENT must remain visible
                return self._memory[offset : offset + length]
            if 0 <= n < length:
                data = self._memory[offset : offset + n]  # first: it raises unless n is an int
                self._offset = offset + n
                self._length = length - n
                return data
        count = self._count(n)
        data = self._front(count)
        self._drop(count)
        return data

    @property
    def inbound_buffered(self) -> int:
        """Bytes that can be consumed now. gnet: InboundBuffered."""
        return self._length if self._inbound is None else len(self._inbound)

    def _count(self, n: int) -> int:
        """How many bytes are requested, checked against how many there are."""
        return asked_for(n, self.inbound_buffered, ": wait for more")

    def _front(self, count: int) -> bytes:
        if self._inbound is not None:
            return self._inbound.peek(count)
        return self._memory[self._offset : self._offset + count]

    def _drop(self, count: int) -> None:
        if self._inbound is None:
            self._offset += count
            self._length -= count
        else:
            self._inbound.discard(count)
            self._loop.buffered -= count
            if not self._inbound and not self._paused:
                self._inbound = None
            if self._marks & HELD and self.inbound_buffered <= self._loop.options.max_inbound // 2:
                self._release_hold()

    def _read_again(self) -> None:
        self._loop.backend.resume(self._handle)
        if self._deadlines is not None:
            self._deadlines.read_again()

    def _release_hold(self) -> None:
        if not self._paused:
            self._read_again()  # first: memory may be short
        self._marks &= ~HELD
        self._loop.held.discard(self)

    def _keep_leftover(self) -> None:
        """Copy what the handler left unread, before the receive buffer is returned."""
        offset, length = self._offset, self._length
        self._length = 0
        self._inbound = RingBuffer()
        if length:  # an empty buffer counts for no limit
            self._put(self._memory[offset : offset + length])
            self._check_inbound(length)

    def _append(self, offset: int, length: int) -> bool:
        """Append what has arrived to the unread bytes; returns whether to call the handler."""
        if self._owner == 0:
            return False
        self._put(self._memory[offset : offset + length])
        self._offset = 0  # no longer SILENT
        self._check_inbound(length)
        return self._owner != 0 and not self._paused

    def _put(self, data: bytes) -> None:
        """Keep a piece: a large one as it is, as long as the heap may have so much."""
        inbound = self._inbound
        assert inbound is not None
        if len(data) < KEPT_WHOLE_FROM or self._loop.buffered >= self._loop.options.kept_memory:
            inbound.write(data)
            return
        if isinstance(inbound, RingBuffer):
            ring, inbound = inbound, Leftovers()
            inbound.take_over(ring)
            self._inbound = inbound
        inbound.refer(data)

    def _check_inbound(self, more: int) -> None:
        """`more` bytes were kept: count them, and enforce the limits."""
        loop, options = self._loop, self._loop.options
        loop.buffered += more
        if self.inbound_buffered > options.max_inbound:
            self._too_much(f"more than max_inbound={options.max_inbound} bytes were left unread")
            if self._marks & HELD:
                loop.held.add(self, is_full=True)
        elif loop.buffered > loop.buffer_share and not loop.budget.may_buffer(0):
            self._too_much(
                f"the engine has buffered max_buffered={options.max_buffered} bytes already"
            )
            if self._marks & HELD:
                loop.held.add(self)

    def _too_much(self, why: str) -> None:
        if self._loop.options.inbound_full == "close":
            self._fail(BufferLimitExceeded(why))
        elif not self._marks & HELD and self._loop.held.may_hold(self):
            self._marks |= HELD
            if not self._paused:
                self._loop.backend.pause(self._handle)

    # Writing

    def write(self, data: bytes) -> None:
        """Send bytes after those written before; returns at once.

        Writes of one turn of the loop are sent together when the turn ends. Raises TypeError unless
        `data` is bytes-like, ConnectionClosed after `close` and `shutdown_write`, and
        BufferLimitExceeded if `max_outbound` bytes are already waiting, or `max_buffered` in the
        whole engine (then nothing of `data` is accepted). gnet: Write.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if type(data) is not bytes:
            data = as_bytes(data)
        written = self._written + len(data)
        if written <= self._limit:
            try:
                self._targets.append(self._handle)  # the backend's send, without a call
                self._pieces.append(data)
            except BaseException:
                retried(even_out, self._targets, self._pieces)
                raise
            self._written = written
        else:
            self._write_slowly(data)

    def _write_slowly(self, data: bytes) -> None:
        """Check how many bytes wait: they go to the backend, or to the overflow."""
        if self._marks & SHUT:
            raise self._shut_error()
        loop, size = self._loop, len(data)
        options, room = loop.options, loop.write_room
        # As `outbound_buffered`, but inline: every large message takes this path.
        waiting = self._written - loop.backend.sent[self._handle & INDEX_MASK]
        if self._overflow is not None:
            waiting += len(self._overflow)
        after = waiting + size
        fits = after <= room or (size >= REFERRED_FROM and after <= options.high_water)
        goes_at_once = self._overflow is None and (fits or not waiting)
        is_much = not goes_at_once or after > options.high_water
        if is_much and self._refuses(waiting, size):
            return
        if goes_at_once:
            written = self._written + size
            limit = written - after + room
            loop.backend.send(self._handle, data)
            self._written, self._limit = written, limit
        else:
            self._overflow_with(data)
        if after > options.high_water:
            self._note_congestion(after)

    def _note_congestion(self, waiting: int) -> None:
        """Count the bytes that wait. They are accepted already: without memory, none is sent."""
        try:
            if not self._marks & CONGESTED:
                self._loop.backend.notify(self._handle)
                self._marks |= CONGESTED
            self._count_outbound(waiting)
        except MemoryError as failure:
            self._end(NOW, failure)

    def _overflow_with(self, data: bytes) -> None:
        if self._overflow is not None:
            self._overflow.write(data)
        else:
            overflow = LinkedBuffer()
            overflow.write(data)
            self._loop.backend.notify(self._handle)
            self._overflow = overflow
            self._limit = 0  # everything written later goes behind it

    def _refuses(self, waiting: int, more: int) -> bool:
        """Enforce the limits on waiting bytes: True if that closed the connection, or it raises."""
        error = refusal(self._loop, waiting, more)
        try:
            if error is not None and self._loop.options.outbound_full == "raise":
                raise error
            if error is not None:
                self._end(NOW, error)
            return error is not None
        finally:
            del error  # its traceback refers to this frame: avoid a cycle

    @staticmethod
    def _shut_error() -> ConnectionClosed:
        return ConnectionClosed("shutdown_write was called: nothing more can be written")

    @property
    def outbound_buffered(self) -> int:
        """Bytes that were written and not taken by the kernel yet. gnet: OutboundBuffered."""
        if self._fd == -1:
            return 0
        if self._loop.ident != get_ident():
            raise wrong_thread(self._loop)
        waiting = self._written - self._loop.sent(self._handle)
        return waiting if self._overflow is None else waiting + len(self._overflow)

    def _count_outbound(self, waiting: int) -> None:
        self._loop.buffered += waiting - self._counted
        self._counted = waiting

    # Closing

    def _finish(self, error: BaseException | None) -> None:
        """Close once everything written has been sent; `error` is for `on_close`."""
        if self._owner == 0:
            return
        self._owner = 0
        self._error = error
        try:
            self._end_softly()
        except MemoryError as failure:
            self._end(NOW, failure)

    def _end_softly(self) -> None:
        self._forget_inbound()
        if self._overflow is None:
            self._loop.backend.close(self._handle, GRACEFUL)
        elif self._paused or self._marks & HELD:
            # The peer may not read until its bytes are read; they are dropped.
            self._loop.backend.resume(self._handle)
        if not self._marks & PEER_ENDED or self.outbound_buffered:
            self._loop.watch_close(self)  # else there is nothing to wait for

    def _fail(self, error: Exception) -> None:
        """The stream is broken: close at once with the error."""
        self._end(NOW, error)

    def _end(self, mode: int, error: BaseException | None) -> None:
        if mode == NOW and self._marks & HAS_DUP:
            mode = LEAVE
        self._owner = 0
        if self._error is None:
            self._error = error
        self._forget_inbound()
        self._overflow = None
        self._count_outbound(0)
        try:
            self._loop.backend.close(self._handle, mode)
        except MemoryError:
            retried(self._loop.backend.close, self._handle, mode)  # else it would stay forever

    def _forget_inbound(self) -> None:
        """The connection is closing: drop the unread bytes, and those that still arrive."""
        if self._inbound is not None:
            self._loop.buffered -= len(self._inbound)
        if self._loop.held:
            self._loop.held.forget(self)
        self._inbound = NOTHING
        self._length = 0

    def _misuse(self) -> Exception:
        """The error for a caller that may not use the connection."""
        if self._owner == 0 and not self._loop.engine.is_forked:
            return ConnectionClosed("the connection is closing or closed")
        return wrong_thread(self._loop)


def wrong_thread(loop: Owner) -> Exception:
    """The error for using a connection of the loop on this thread."""
    if loop.engine.is_forked:
        return EngineStateError("this connection belongs to the process that created its engine")
    return WrongThread(
        "this method may only be called on the thread of the connection's reactor: from other "
        "threads use async_write, wake or close, or conn.loop.execute"
    )
