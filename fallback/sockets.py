"""Sockets of the fallback: made of descriptors, and given back, such that nothing ever blocks.

The law of this file: whether a descriptor blocks is shared by every process that has it, so nothing
relies on it where a call has a flag of its own; nor on Python's default for new sockets
(`socket.setdefaulttimeout`), nor on what the program does about SIGPIPE.
"""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Final

from ..completion import NOW, RESET

AT_ONCE: Final = getattr(socket, "MSG_DONTWAIT", 0)  # for receiving
SEND_AT_ONCE: Final = AT_ONCE | getattr(socket, "MSG_NOSIGNAL", 0)
WOULD_BLOCK: Final = (BlockingIOError, InterruptedError)
_ERROR_QUEUE: Final = getattr(socket, "MSG_ERRQUEUE", 0)  # Linux has one for each socket
_WITH_ERROR_QUEUE: Final = (socket.AF_INET, socket.AF_INET6)
_MOST_ERRORS: Final = 64  # taken out of it at once
_NOWHERE: Final = 16  # bytes of a sockaddr of no family: AF_UNSPEC is 0
_LINGER: Final = struct.Struct("hh" if sys.platform == "win32" else "ii")  # is on, seconds


def of_stream(fd: int) -> socket.socket:
    """The socket object of a connected stream. Raises OSError."""
    # Reading and writing do not depend on the family, and giving one saves system calls.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    if not AT_ONCE or sock.gettimeout() is not None:  # it is a new socket's default
        sock.setblocking(False)
    return sock


def of_listener(fd: int) -> socket.socket:
    """The socket object of a listening stream socket. Raises OSError."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, fileno=fd)
    sock.setblocking(False)
    return sock


def of_packets(fd: int) -> socket.socket:
    """The socket object of any other socket. Raises OSError."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def of_connecting(fd: int, family: int) -> socket.socket:
    """The socket object of a stream that is to be connected. Raises OSError."""
    sock = socket.socket(family, socket.SOCK_STREAM, 0, fileno=fd)
    sock.setblocking(False)
    return sock


def newcomer_check(fd: int) -> Callable[[], object]:
    """A call that returns whether a newcomer waits: accept(2) has no MSG_DONTWAIT."""
    if not hasattr(select, "poll"):
        return lambda: select.select((fd,), (), (), 0)[0]
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return lambda: poll.poll(0)


def drop_errors(sock: socket.socket) -> None:
    """Empty the error queue: what is in it makes a socket ready for ever (recv(2), ip(7))."""
    if not _ERROR_QUEUE:
        return
    with suppress(OSError):
        # Others, such as Unix sockets, do not have one: they would return what they have received.
        if sock.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN) in _WITH_ERROR_QUEUE:
            for _ in range(_MOST_ERRORS):
                sock.recvmsg(1, 0, _ERROR_QUEUE | AT_ONCE)


def pending_error(sock: socket.socket) -> int:
    """The errno of what has broken the socket meanwhile, or 0."""
    try:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    except OSError as error:
        return error.errno or 0


def prepare_close(sock: socket.socket, mode: int) -> None:
    """What has to be done before close(2), so that it neither waits nor leaves the peer waiting.

    It would wait as long as SO_LINGER says. And while another process has the descriptor as well,
    as a forked child does, close(2) alone sends nothing to the peer.
    """
    resets = _never_linger(sock) or mode == RESET
    if resets:
        _set_linger(sock, 1, 0)
        is_sent = _disconnect(sock.fileno())
    else:
        is_sent = mode != NOW
    if not is_sent:
        with suppress(OSError):
            sock.shutdown(socket.SHUT_RDWR)


def _never_linger(sock: socket.socket) -> bool:
    """Turn lingering off, except with a time of 0, which means a reset; returns whether it does."""
    try:
        set_to = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.size)
    except OSError:
        return False
    is_on, seconds = _LINGER.unpack(set_to)
    if is_on and seconds:
        _set_linger(sock, 0, 0)
    return bool(is_on and not seconds)


def _set_linger(sock: socket.socket, is_on: int, seconds: int) -> None:
    with suppress(OSError):  # it has ended already (macOS: EINVAL)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(is_on, seconds))


def _disconnect(fd: int) -> bool:
    """Reset a TCP connection at once, whatever process shares it (connect(2), AF_UNSPEC).

    False where there is none to reset. Where the system has no such call close(2) has to do it, and
    a shutdown before it would look like an orderly end: so the answer is True.
    """
    connect = _system_connect()
    return connect is None or connect(fd, bytes(_NOWHERE), _NOWHERE) == 0


@cache
def _system_connect() -> Callable[[int, bytes, int], int] | None:
    """connect(2) itself: Python's does not take that family, by which Linux resets."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        import ctypes
    except ImportError:
        return None
    call: Callable[[int, bytes, int], int] = ctypes.CDLL(None).connect
    return call
