"""A stream: all the state of a connection, its transitions, and the path of a message.

What is here runs for each message, or decides whether the next one may; everything else that a
connection offers stands on it, in classes without state (`reading.py`, `writing.py`, ...).

Ownership of bytes: what a method returns as `bytes` is the caller's own for good. What is given to
`write` is never changed (`bytes` cannot be; anything else is copied).

What has arrived is the chunk in the receive buffer (`_memory[_offset : _offset + _length]`), or the
elastic buffer `_inbound` with what was left of earlier ones; never both. What is written goes to
the backend's stage; where that has no room, to the overflow.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from ...completion import GRACEFUL, INDEX_MASK, LEAVE, NOW, REFERRED_FROM, retried
from ..base.errors import (
    BufferLimitExceeded,
    ConnectionClosed,
    EngineStateError,
    WrongThread,
)
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
# The offset of a connection that no byte has reached since somebody looked: beyond all memory, so
# that a slice from there is empty. Whatever arrives overwrites it, which costs nothing more.
SILENT: Final = 1 << 62
PEER_ENDED: Final = 1  # EOF has come
END_DUE: Final = 2  # and the handler does not know yet
WAKE_DUE: Final = 4  # it was woken while reading was paused
CONGESTED: Final = 8  # more than `high_water` bytes wait, and `on_writable` follows
SHUT: Final = 16  # our side is ended, or will be when the overflow is empty
HELD: Final = 32  # reading rests because too much is left unread
HAS_DUP: Final = 64  # somebody has a descriptor of the same socket, and is not to be cut off


class Stream:
    """The state of a connection, for its reactor's thread where no comment says else."""

    # What it is, from its beginning to its end
    context: Any  # the handler's own
    _loop: Owner  # its reactor
    _origin: Origin  # its listener or client, and so its handler
    _handle: int  # the backend's name for it
    _fd: int  # -1 from CLOSED on
    # The thread that may use it, and 0 once it is closing: so one comparison answers both questions
    # on the path of each message. Written by `_finish`, `_end` and the reactor's own end.
    _owner: int

    _marks: int  # what is seldom true of it: PEER_ENDED and the others above

    # What has arrived
    _memory: Memory  # the backend's receive buffers
    _offset: int  # of the chunk in them; written by each DATA. SILENT: nothing since the last look
    _length: int  # bytes of the chunk that are not consumed
    _inbound: RingBuffer | Leftovers | None  # leftovers; None: a chunk can be handed out as it is
    _paused: bool  # by the handler

    # What is on its way out
    _targets: list[int]  # the backend's outbox: whom a piece is for,
    _pieces: list[bytes]  # and the piece
    _written: int  # bytes that the backend got; of packets, see `Endpoint`
    _limit: int  # of `_written`, before somebody looks how many wait; -1: our side is ended
    _overflow: LinkedBuffer | None  # what the backend had no room for
    _counted: int  # bytes that wait, as the engine's bound counts them

    # How it ends
    _error: BaseException | None  # what `on_close` gets; the first that happens
    _deadlines: Deadlines | None  # the limits that were set, if any
    _timer: Countdown | None  # of its end: `close_timeout`, then `linger_timeout`
    _on_closed: list[Callback] | None  # what `close` was given, called after `on_close`

    # What was asked of the kernel, and is remembered. Read by any thread.
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
        """Consume `n` bytes, or all there are (-1). Raises ShortBuffer where there are fewer.

        gnet: Next.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if self._inbound is None:
            length = self._length
            offset = self._offset
            if n == -1 or n == length:
                self._length = 0  # the offset stays: SILENT goes on to say that nothing came
                return self._memory[offset : offset + length]
            if 0 <= n < length:
                data = self._memory[offset : offset + n]  # first: it raises for what is no int
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
        """How many bytes are asked for, checked against what there is."""
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
            self._read_again()  # first: there may be no memory for it
        self._marks &= ~HELD
        self._loop.held.discard(self)

    def _keep_leftover(self) -> None:
        """Copy what the handler left, before the receive buffer is given back."""
        offset, length = self._offset, self._length
        self._length = 0
        self._inbound = RingBuffer()
        if length:  # else it costs nobody anything, however much the others hold
            self._put(self._memory[offset : offset + length])
            self._check_inbound(length)

    def _append(self, offset: int, length: int) -> bool:
        """Put what arrived behind what was left; whether the handler is to be called."""
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
        """`more` bytes were kept: count them, and see to the bounds."""
        loop, options = self._loop, self._loop.options
        loop.buffered += more
        if self.inbound_buffered > options.max_inbound:
            self._too_much(f"more than max_inbound={options.max_inbound} bytes were left unread")
            if self._marks & HELD:
                loop.held.add(self, is_full=True)
        elif loop.buffered > loop.buffer_share and not loop.budget.may_buffer(0):
            self._too_much(f"the engine holds max_buffered={options.max_buffered} bytes already")
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
        """Send bytes after all that was written before; returns at once.

        What is written in one turn of the loop goes out together when the turn ends. Raises
        TypeError for what is not bytes, ConnectionClosed after `close` and `shutdown_write`,
        BufferLimitExceeded where `max_outbound` bytes wait already, or `max_buffered` in the whole
        engine (then nothing of `data` is taken). gnet: Write.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if type(data) is not bytes:
            data = as_bytes(data)
        written = self._written + len(data)
        if written <= self._limit:
            self._written = written
            self._targets.append(self._handle)  # the backend's send, without a call
            self._pieces.append(data)
        else:
            self._write_slowly(data)

    def _write_slowly(self, data: bytes) -> None:
        """See how many bytes wait: the backend has room for more, or the overflow takes them."""
        if self._marks & SHUT:
            raise self._shut_error()
        loop, size = self._loop, len(data)
        options, room = loop.options, loop.write_room
        # As outbound_buffered: large messages all come by here.
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
            self._limit = self._written - waiting + room
            self._written += size
            self._targets.append(self._handle)
            self._pieces.append(data)
        else:
            self._overflow_with(data)
        if after > options.high_water:
            if not self._marks & CONGESTED:
                self._marks |= CONGESTED
                loop.backend.notify(self._handle)
            self._count_outbound(after)

    def _overflow_with(self, data: bytes) -> None:
        if self._overflow is None:
            self._overflow = LinkedBuffer()
            self._limit = 0  # all that follows goes behind it
            self._loop.backend.notify(self._handle)
        self._overflow.write(data)

    def _refuses(self, waiting: int, more: int) -> bool:
        """Whether no more bytes may wait, for which the connection was closed; else it raises."""
        error = refusal(self._loop, waiting, more)
        try:
            if error is not None and self._loop.options.outbound_full == "raise":
                raise error
            if error is not None:
                self._end(NOW, error)
            return error is not None
        finally:
            del error  # whose traceback refers to this frame: no cycle

    @staticmethod
    def _shut_error() -> ConnectionClosed:
        return ConnectionClosed("our side of the connection is ended: shutdown_write was called")

    @property
    def outbound_buffered(self) -> int:
        """Bytes that were written and that the kernel has not taken yet. gnet: OutboundBuffered."""
        if self._fd == -1:
            return 0
        if self._loop.ident != get_ident():
            raise wrong_thread(self._loop)
        waiting = self._written - self._loop.sent(self._handle)
        return waiting if self._overflow is None else waiting + len(self._overflow)

    def _count_outbound(self, waiting: int) -> None:
        self._loop.buffered += waiting - self._counted
        self._counted = waiting

    # Its ends

    def _finish(self, error: BaseException | None) -> None:
        """Close after what was written is sent; `error` is what `on_close` gets."""
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
            # The peer may have to be read before it reads; what comes is dropped.
            self._loop.backend.resume(self._handle)
        if not self._marks & PEER_ENDED or self.outbound_buffered:
            self._loop.watch_close(self)  # else it waits for nobody

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
            retried(self._loop.backend.close, self._handle, mode)  # else it would stay for good

    def _forget_inbound(self) -> None:
        """The connection is closing: what was not read is dropped, as is what still comes."""
        if self._inbound is not None:
            self._loop.buffered -= len(self._inbound)
        if self._loop.held:
            self._loop.held.forget(self)
        self._inbound = NOTHING
        self._length = 0

    def _misuse(self) -> Exception:
        """Why the caller may not use the connection."""
        if self._owner == 0 and not self._loop.engine.is_forked:
            return ConnectionClosed("the connection is closing or closed")
        return wrong_thread(self._loop)


def wrong_thread(loop: Owner) -> Exception:
    """Why a connection of the loop cannot be used here."""
    if loop.engine.is_forked:
        return EngineStateError("this connection belongs to the process that made its engine")
    return WrongThread(
        "this method is for the thread of the connection's reactor: from others use "
        "async_write, wake or close, or conn.loop.execute"
    )
