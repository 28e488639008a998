"""A connection: the bytes that arrived and the bytes on their way, for one handler.

Thread rule: a connection belongs to its reactor's thread. Every method is for that thread, and
raises WrongThread elsewhere, but for those of `any_thread.py` (`async_write`, `async_writev`,
`wake`, `close`), which are for any thread.
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
    """One connection of an engine. Made by the engine; a handler gets it in each of its methods.

    Its state and the path of a message are in `stream.py`; what reads in `reading.py`, what writes
    in `writing.py`, time limits in `time_limits.py`, what other threads may call in
    `any_thread.py`, the socket's options in `socket_options.py`.

    `context` is the handler's own: any object, None at first.
    """

    __slots__ = ()

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
            if self._owner or self._loop.engine.is_forked:
                raise self._misuse()
            if self._fd == -1:
                return
            if self._loop.ident != get_ident():
                raise wrong_thread(self._loop)
        self._end(mode, None)

    # What it is

    @property
    def loop(self) -> LoopFace[Connection]:
        """The event loop that it belongs to: see `EventLoop`. For any thread."""
        return self._loop.face

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
        self._marks |= HAS_DUP
        return fd

    def _borrow(self) -> borrowed:
        if self._owner != get_ident():
            raise self._misuse()
        return borrowed(self._fd)

    def _ask(self, question: str) -> Any:
        """`getsockname` or `getpeername`; None where the socket can no longer be asked."""
        if self._owner != get_ident():
            if self._owner:
                raise self._misuse()
            return None
        try:
            with borrowed(self._fd) as sock:
                return getattr(sock, question)()
        except OSError:
            return None
