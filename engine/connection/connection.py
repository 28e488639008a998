"""A connection, as its handler uses it.

Thread rule: a connection belongs to its reactor's thread. Its methods are for that thread and raise
WrongThread elsewhere, except those of `any_thread.py` (`async_write`, `async_writev`, `wake`,
`close`), which are for any thread.
"""

from __future__ import annotations

import os
from threading import get_ident
from typing import TYPE_CHECKING, Any

from ...completion import INDEX_MASK, NOW, RESET
from ..base.errors import peer_text
from ..base.sockets import borrowed
from .any_thread import AnyThread
from .owner import LoopFace
from .socket_options import SocketOptions
from .stream import HAS_DUP, wrong_thread
from .time_limits import TimeLimits
from .writing import Writing

if TYPE_CHECKING:
    from .listener import Listener


class Connection(Writing, AnyThread, TimeLimits, SocketOptions):
    """A connection, created by the engine and passed to the methods of its handler.

    Its methods are for its reactor's thread and raise WrongThread elsewhere, except `async_write`,
    `async_writev`, `wake` and `close`, which are for any thread. Once it is closing, those that
    read or write raise ConnectionClosed.

    `context` is for the handler's own use: any object, None at first.
    """

    # Its state and the path of a message are in `stream.py`, reading in `reading.py`, writing in
    # `writing.py`, time limits in `time_limits.py`, the socket's options in `socket_options.py`.

    __slots__ = ()

    def __repr__(self) -> str:
        state = "open" if self._owner else "closed"
        is_here = self._owner == get_ident()  # elsewhere only what is cached can be shown
        peer = self.remote_address if is_here else self._remote
        return f"<ringnet.Connection {self._handle & INDEX_MASK} {state} peer={peer_text(peer)}>"

    # Closing

    def close_now(self) -> None:
        """Close at once: bytes that are not sent yet are dropped.

        It also ends a graceful close that is in progress; once the connection is closed it does
        nothing. `on_close` gets None, or the error with which the connection was closing.
        """
        self._cut(NOW)

    def reset(self) -> None:
        """Close at once with a reset (RST), which the peer sees as an error."""
        self._cut(RESET)

    def _cut(self, mode: int) -> None:
        if self._owner != get_ident():
            if self._owner or self._loop.engine.is_forked:
                raise self._misuse()
            if self._fd == -1:
                return
            if self._loop.ident != get_ident():
                raise wrong_thread(self._loop)
        self._end(mode, None)

    # Properties

    @property
    def loop(self) -> LoopFace[Connection]:
        """The event loop that it belongs to: see `EventLoop`. For any thread."""
        return self._loop.face

    @property
    def local_address(self) -> Any:
        """The local address, as `socket.getsockname` returns it. gnet: LocalAddr.

        The kernel is asked once, when it is first read on the connection's thread, and the answer
        is cached as for `remote_address`. It is never asked at the start: read it in `on_open` if
        `on_close` or another thread needs it.
        """
        if self._local is None:
            self._local = self._ask("getsockname")
        return self._local

    @property
    def remote_address(self) -> Any:
        """The peer's address, as `socket.getpeername` returns it. gnet: RemoteAddr.

        The kernel is asked once, and the answer is cached; None if it was never asked while the
        connection was open. If the handler has an `on_close`, it is asked at the start, so that the
        address is known there. A cached address can be read on any thread; otherwise a thread other
        than the connection's gets WrongThread.
        """
        if self._remote is None:
            self._remote = self._ask("getpeername")
        return self._remote

    @property
    def listener(self) -> Listener | None:
        """The listener that accepted it; None if it was dialed or enrolled."""
        return self._origin.listener

    def fileno(self) -> int:
        """The descriptor, which still belongs to the engine; -1 once it is closed. gnet: Fd."""
        return self._fd

    def dup(self) -> int:
        """A duplicate of the descriptor, which the caller has to close. gnet: Dup.

        It outlives the connection: after `close_now` the peer stays connected to it. `close` and
        `shutdown_write` end our side for the duplicate as well, and `reset` ends it.
        """
        if self._owner != get_ident():
            raise self._misuse()
        fd = os.dup(self._fd)
        self._marks |= HAS_DUP
        return fd

    def _borrow(self) -> borrowed:
        if self._owner != get_ident():
            raise self._misuse()
        return borrowed(self._fd)

    def _ask(self, question: str) -> Any:
        """`getsockname` or `getpeername`; None if the connection is closing or closed."""
        if self._owner != get_ident():
            if self._owner:
                raise self._misuse()
            return None
        try:
            with borrowed(self._fd) as sock:
                return getattr(sock, question)()
        except OSError:
            return None
