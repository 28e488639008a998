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
from collections.abc import Iterable
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

from ..completion import GRACEFUL, INDEX_MASK, NOW, RESET
from .errors import BufferLimitExceeded, ConnectionClosed, UsageError, WrongThread
from .foreign import AnyThread, Callback, as_bytes
from .inbound import NOTHING, Inbound
from .linked_buffer import LinkedBuffer
from .sockopts import SocketOptions

if TYPE_CHECKING:
    from .listener import Listener
    from .origin import Origin
    from .reactor import Reactor
    from .timers import Timer

_JOIN_UP_TO = 256 * 1024  # bytes of overflow that are handed to the backend at once


class Readable(Protocol):
    """A file that `read_from` reads."""

    def read(self, size: int, /) -> bytes: ...


class Connection(SocketOptions, AnyThread, Inbound):
    """One connection of an engine. Made by the engine; a handler gets it in each of its methods.

    What reads is in `inbound.py`, what other threads may call in `foreign.py`, the socket's options
    in `sockopts.py`.

    `context` is the handler's own: any object, None at first.
    """

    __slots__ = (
        "_error",
        "_fd",
        "_handle",
        "_limit",
        "_local",
        "_on_closed",
        "_origin",
        "_outbox",
        "_overflow",
        "_owner",
        "_peer_ended",
        "_remote",
        "_timer",
        "_written",
        "context",
        "loop",
    )

    def __init__(self, loop: Reactor, handle: int, fd: int, origin: Origin) -> None:
        self.context: Any = None
        self.loop = loop
        self._origin = origin
        self._owner = loop.ident
        self._handle = handle
        self._fd = fd
        self._memory = loop.memory
        self._outbox = loop.backend.outbox
        # Inbound: the chunk that has just arrived, or the elastic buffer, never both.
        self._offset = 0
        self._length = 0
        self._inbound = None
        # Outbound: how many bytes the backend got, and may get before somebody has to look how many
        # of them it still has; then what it had no room for.
        self._written = 0
        self._limit = 0
        self._overflow: LinkedBuffer | None = None
        self._peer_ended = False
        self._error: Exception | None = None
        self._on_closed: list[Callback] | None = None
        self._timer: Timer | None = None
        self._local: Any = None
        self._remote: Any = None

    def __repr__(self) -> str:
        state = "open" if self._owner else "closed"
        return f"<ringnet.Connection {self._handle & INDEX_MASK} {state} peer={self._remote}>"

    # Writing

    def write(self, data: bytes) -> None:
        """Send bytes after all that was written before; returns at once.

        What is written in one turn of the loop goes out together when the turn ends. Raises
        TypeError for what is not bytes, ConnectionClosed after `close`, BufferLimitExceeded
        where `max_outbound` bytes wait already (then nothing of `data` is taken). gnet: Write.
        """
        if self._owner != get_ident():
            raise self._misuse()
        if type(data) is not bytes:
            data = as_bytes(data)
        written = self._written + len(data)
        if written <= self._limit:
            self._written = written
            self._outbox += (self._handle, data)  # the backend's send, without a call
        else:
            self._write_slowly(data)

    def writev(self, parts: Iterable[bytes]) -> None:
        """`write` all the parts, in order, as one. gnet: Writev."""
        self.write(b"".join([as_bytes(part) for part in parts]))

    def read_from(self, file: Readable) -> int:
        """Write all that `file` has until its end; returns how many bytes. gnet: ReadFrom."""
        total = 0
        while data := file.read(_JOIN_UP_TO):
            self.write(data)
            total += len(data)
        return total

    def send_to(self, data: bytes, address: Any) -> None:
        """Send one datagram to another address than the sender's. gnet: SendTo.

        Raises UsageError here: a stream has one peer.
        """
        raise UsageError("a stream has one peer: use write; send_to is for datagrams")

    def flush(self) -> None:
        """Does nothing more than the end of the turn does: what was written goes out then.

        gnet: Flush.
        """
        if self._owner != get_ident():
            raise self._misuse()

    @property
    def outbound_buffered(self) -> int:
        """Bytes that were written and that the kernel has not taken yet. gnet: OutboundBuffered."""
        if self._fd == -1:
            return 0
        waiting = self._written - self.loop.sent(self._handle)
        return waiting if self._overflow is None else waiting + len(self._overflow)

    def _write_slowly(self, data: bytes) -> None:
        """See how many bytes wait: the backend has room for more, or the overflow takes them."""
        loop = self.loop
        waiting = self.outbound_buffered
        room = loop.options.stage_bytes
        if self._overflow is None and (not waiting or waiting + len(data) <= room):
            self._limit = self._written - waiting + room
            self._written += len(data)
            loop.backend.send(self._handle, data)
            return
        limit = loop.options.max_outbound
        if waiting >= limit:
            raise BufferLimitExceeded(
                f"{waiting} bytes wait to be sent (max_outbound={limit}): "
                "the peer reads slower than you write"
            )
        if self._overflow is None:
            self._overflow = LinkedBuffer()
            self._limit = 0  # all that follows goes behind it
            loop.backend.notify(self._handle)
        self._overflow.write(data)

    def _pump(self) -> None:
        """For the reactor: the stage is empty (DRAINED), so give it the next of the overflow."""
        overflow = self._overflow
        if overflow is None:
            return
        backend = self.loop.backend
        data = overflow.take(_JOIN_UP_TO)
        self._written += len(data)
        backend.send(self._handle, data)
        if overflow:
            backend.notify(self._handle)
            return
        self._overflow = None
        if self._owner == 0:
            backend.close(self._handle, GRACEFUL)

    # The ends

    def close_now(self) -> None:
        """Close at once: what was written and not sent yet is dropped. `on_close` gets None."""
        if self._owner != get_ident():
            raise self._misuse()
        self._end(NOW, None)

    def reset(self) -> None:
        """Close at once with a reset (RST), which the peer sees as an error."""
        if self._owner != get_ident():
            raise self._misuse()
        self._end(RESET, None)

    def _finish(self, error: Exception | None) -> None:
        """Close after what was written is sent; `error` is what `on_close` gets."""
        if self._owner == 0:
            return
        self._owner = 0
        self._error = error
        self._inbound = NOTHING
        self._length = 0
        if self._overflow is None:
            self.loop.backend.close(self._handle, GRACEFUL)
        self.loop.watch_close(self)

    def _when_closed(self, callback: Callback) -> None:
        """Have `callback` called right after `on_close`."""
        self._on_closed = [*(self._on_closed or []), callback]

    def _fail(self, error: Exception) -> None:
        """The stream is broken: close at once with the error."""
        self._end(NOW, error)

    def _end(self, mode: int, error: Exception | None) -> None:
        self._owner = 0
        if self._error is None:
            self._error = error
        self._inbound = NOTHING
        self._length = 0
        self._overflow = None
        self.loop.backend.close(self._handle, mode)

    def _misuse(self) -> Exception:
        """Why the caller may not use the connection."""
        if self._owner == 0:
            return ConnectionClosed("the connection is closing or closed")
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
        """
        if self._remote is None:
            self._remote = self._ask("getpeername")
        return self._remote

    @property
    def listener(self) -> Listener | None:
        """The listener it came from; None where it was dialed or enrolled."""
        return self._origin.listener

    def fileno(self) -> int:
        """The descriptor, which stays the engine's; -1 once it is closed. gnet: Fd."""
        return self._fd

    def dup(self) -> int:
        """A new descriptor of the same socket, which is the caller's to close. gnet: Dup."""
        if self._owner != get_ident():
            raise self._misuse()
        return os.dup(self._fd)
