"""A connection: the bytes that arrived and the bytes on their way, for one handler.

Thread rule: a connection belongs to its reactor's thread. Every method is for that thread, and
raises WrongThread elsewhere, but for those of `foreign.py` (`async_write`, `async_writev`, `wake`,
`close`), which are for any thread.

Ownership of bytes: what a method returns as `bytes` is the caller's own for good. What is given to
`write` is never changed (`bytes` cannot be; anything else is copied).

`_owner` is the thread that may use the connection, and 0 once it is closing: so one comparison
answers both questions on the path of each message. In the same way `_inbound` is None where an
arriving chunk can be handed out as it is: neither leftovers are before it, nor is it to be dropped.
"""

from __future__ import annotations

import os
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ..completion import GRACEFUL, INDEX_MASK, LEAVE, NOW, RESET, retried
from .deadlines import Countdown, Deadlines, TimeLimits
from .errors import ConnectionClosed, EngineStateError, WrongThread, peer_text
from .foreign import AnyThread, Callback
from .inbound import SILENT
from .outbound import Outbound
from .sockopts import SocketOptions

if TYPE_CHECKING:
    from .listener import Listener
    from .origin import Origin
    from .owner import Owner


class Connection(SocketOptions, AnyThread, TimeLimits, Outbound):
    """One connection of an engine. Made by the engine; a handler gets it in each of its methods.

    What reads is in `inbound.py`, what writes in `outbound.py`, time limits in `deadlines.py`, what
    other threads may call in `foreign.py`, the socket's options in `sockopts.py`.

    `context` is the handler's own: any object, None at first.
    """

    COST = "the connection is closed"  # what an exception in a handler leads to
    __slots__ = (
        "_deadlines",
        "_end_due",
        "_error",
        "_handle",
        "_has_dup",
        "_local",
        "_on_closed",
        "_origin",
        "_owner",
        "_peer_ended",
        "_remote",
        "_timer",
        "_wake_due",
        "context",
        "loop",
    )

    def __init__(self, loop: Owner, handle: int, fd: int, origin: Origin) -> None:
        self.context: Any = None
        self.loop = loop
        self._origin = origin
        self._owner = loop.ident
        self._handle = handle
        self._fd = fd
        self._memory = loop.memory
        self._targets, self._pieces = loop.backend.outbox
        # Inbound: the chunk that has just arrived, or the elastic buffer, never both.
        self._offset = SILENT
        self._length = 0
        self._inbound = None
        self._paused = False
        self._held = False
        self._written = 0
        self._limit = loop.write_room
        self._overflow = None
        self._congested = False
        self._is_shut = False
        self._counted = 0
        self._peer_ended = False
        self._end_due = False  # and the handler does not know yet
        self._wake_due = False  # it was woken while reading was paused
        self._has_dup = False  # somebody has a descriptor of the same socket
        self._deadlines: Deadlines | None = None
        self._error: BaseException | None = None
        self._on_closed: list[Callback] | None = None
        self._timer: Countdown | None = None
        self._local: Any = None
        self._remote: Any = None

    def __repr__(self) -> str:
        state = "open" if self._owner else "closed"
        is_here = self._owner == get_ident()  # else what is known has to do
        peer = self.remote_address if is_here else self._remote
        return f"<ringnet.Connection {self._handle & INDEX_MASK} {state} peer={peer_text(peer)}>"

    # The ends

    def close_now(self) -> None:
        """Close at once: what was written and not sent yet is dropped.

        Also where it is closing already, however softly; does nothing once it is closed. `on_close`
        gets None, or what the connection was closing with.
        """
        self._cut(NOW)

    def reset(self) -> None:
        """`close_now`, with a reset (RST), which the peer sees as an error."""
        self._cut(RESET)

    def _cut(self, mode: int) -> None:
        if self._owner != get_ident():
            if self._owner or self.loop.engine.is_forked:
                raise self._misuse()
            if self._fd == -1:
                return
            if self.loop.ident != get_ident():
                raise self._wrong_thread()
        self._end(mode, None)

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
            self.loop.backend.close(self._handle, GRACEFUL)
        elif self._paused or self._held:
            # The peer may have to be read before it reads; what comes is dropped.
            self.loop.backend.resume(self._handle)
        if not self._peer_ended or self.outbound_buffered:
            self.loop.watch_close(self)  # else it waits for nobody

    def _wake_later(self) -> None:
        """It was woken while reading is paused: see `resume_reading`."""
        self._wake_due = True

    def _when_closed(self, callback: Callback) -> None:
        """Have `callback` called right after `on_close`."""
        self._on_closed = [*(self._on_closed or []), callback]

    def _fail(self, error: Exception) -> None:
        """The stream is broken: close at once with the error."""
        self._end(NOW, error)

    def _end(self, mode: int, error: BaseException | None) -> None:
        if mode == NOW and self._has_dup:
            mode = LEAVE
        self._owner = 0
        if self._error is None:
            self._error = error
        self._forget_inbound()
        self._overflow = None
        self._count_outbound(0)
        try:
            self.loop.backend.close(self._handle, mode)
        except MemoryError:
            retried(self.loop.backend.close, self._handle, mode)  # else it would stay for good

    def _limits(self) -> Deadlines:
        if self._owner != get_ident():
            raise self._misuse()
        if self._deadlines is None:
            self._deadlines = Deadlines(self)
        return self._deadlines

    def _misuse(self) -> Exception:
        """Why the caller may not use the connection."""
        if self._owner == 0 and not self.loop.engine.is_forked:
            return ConnectionClosed("the connection is closing or closed")
        return self._wrong_thread()

    def _wrong_thread(self) -> Exception:
        if self.loop.engine.is_forked:
            return EngineStateError("this connection belongs to the process that made its engine")
        return WrongThread(
            "this method is for the thread of the connection's reactor: from others use "
            "async_write, wake or close, or conn.loop.execute"
        )

    # What it is

    @property
    def local_address(self) -> Any:
        """Our address, as `socket.getsockname` gives it. gnet: LocalAddr."""
        if self._local is None:
            self._local = self._ask("getsockname")
        return self._local

    @property
    def remote_address(self) -> Any:
        """The peer's address, as `socket.getpeername` gives it. gnet: RemoteAddr.

        Asked of the kernel once and then remembered; None if it was not asked while the connection
        was open. It is there in `on_close`: a handler with that method has it asked at the start.
        What was asked is there for any thread; asking is for the connection's own, and raises
        WrongThread elsewhere. `local_address` likewise.
        """
        if self._remote is None:
            self._remote = self._ask("getpeername")
        return self._remote

    @property
    def peer_has_ended(self) -> bool:
        """Whether the peer has ended its side: nothing more arrives."""
        return self._peer_ended

    @property
    def listener(self) -> Listener | None:
        """The listener it came from; None where it was dialed or enrolled."""
        return self._origin.listener

    def fileno(self) -> int:
        """The descriptor, which stays the engine's; -1 once it is closed. gnet: Fd."""
        return self._fd

    def dup(self) -> int:
        """A new descriptor of the same socket, which is the caller's to close. gnet: Dup.

        It outlives the connection: `close_now` then leaves the peer connected to it. `close` and
        `shutdown_write` end our side for it as well, and `reset` ends it.
        """
        if self._owner != get_ident():
            raise self._misuse()
        fd = os.dup(self._fd)
        self._has_dup = True
        return fd
