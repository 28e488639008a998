"""Socket options of a connection, and what can be asked of its socket.

A connection has only a descriptor; a socket object is borrowed for the call.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any


@contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """A socket object of a descriptor that stays somebody else's."""
    sock = socket.socket(fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


class SocketOptions:
    """Each `set_` raises OSError with the option's name where the system refuses it.

    On the connection's thread, like all its methods.
    """

    __slots__ = ()

    if TYPE_CHECKING:  # what Connection has
        _fd: int
        _owner: int

        def _misuse(self) -> Exception: ...

    def set_no_delay(self, on: bool) -> None:
        """Send small writes at once (TCP_NODELAY, tcp(7)). gnet: SetNoDelay."""
        self._set("TCP_NODELAY", socket.IPPROTO_TCP, socket.TCP_NODELAY, int(on))

    def set_read_buffer(self, size: int) -> None:
        """Bytes of the kernel's receive buffer (SO_RCVBUF, socket(7)). gnet: SetReadBuffer."""
        self._set("SO_RCVBUF", socket.SOL_SOCKET, socket.SO_RCVBUF, size)

    def set_write_buffer(self, size: int) -> None:
        """Bytes of the kernel's send buffer (SO_SNDBUF, socket(7)). gnet: SetWriteBuffer."""
        self._set("SO_SNDBUF", socket.SOL_SOCKET, socket.SO_SNDBUF, size)

    def set_linger(self, seconds: int) -> None:
        """SO_LINGER (socket(7)): negative turns it off, 0 resets on close. gnet: SetLinger."""
        value = struct.pack("ii", int(seconds >= 0), max(0, seconds))
        self._set("SO_LINGER", socket.SOL_SOCKET, socket.SO_LINGER, value)

    def set_keep_alive(self, on: bool, idle: int = 60, interval: int = 10, count: int = 5) -> None:
        """Probe an idle peer (SO_KEEPALIVE, tcp(7)): after `idle` seconds, every `interval`
        seconds, and give up after `count` probes. gnet: SetKeepAlive."""
        self._set("SO_KEEPALIVE", socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(on))
        if not on:
            return
        # macOS has TCP_KEEPIDLE under the name TCP_KEEPALIVE.
        idle_name = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"
        for name, value in (
            (idle_name, idle),
            ("TCP_KEEPINTVL", interval),
            ("TCP_KEEPCNT", count),
        ):
            self._set(name, socket.IPPROTO_TCP, getattr(socket, name), value)

    def _set(self, name: str, level: int, option: int, value: int | bytes) -> None:
        if self._owner != get_ident():
            raise self._misuse()
        try:
            with borrowed(self._fd) as sock:
                sock.setsockopt(level, option, value)
        except OSError as error:
            number = error.errno or 0
            text = f"{name}={value!r} was refused: {os.strerror(number)}"
            raise OSError(number, text) from error

    def _ask(self, question: str) -> Any:
        """`getsockname` or `getpeername`; None where the socket can no longer be asked."""
        if self._owner != get_ident():
            return None
        try:
            with borrowed(self._fd) as sock:
                return getattr(sock, question)()
        except OSError:
            return None
