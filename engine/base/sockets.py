"""Socket options: how they are checked, and which ones an engine sets on its sockets."""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from . import multicast
from .errors import shown

if TYPE_CHECKING:
    from .options import Options

# macOS has TCP_KEEPIDLE under the name TCP_KEEPALIVE.
_IDLE = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"

_LINGER = struct.Struct("HH" if sys.platform == "win32" else "ii")  # struct linger
LONGEST_LINGER = 65_535  # seconds; on some systems the field is an unsigned short


def prepare_socket(sock: socket.socket, options: Options) -> None:
    """Apply the engine's options to a socket that listens or is about to connect."""
    if options.socket_receive_buffer:
        set_option(sock, "SO_RCVBUF", options.socket_receive_buffer)
    if options.socket_send_buffer:
        set_option(sock, "SO_SNDBUF", options.socket_send_buffer)
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if options.bind_to_device:
        set_option(sock, "SO_BINDTODEVICE", device_bytes(options.bind_to_device))
    if sock.type == socket.SOCK_STREAM:
        _prepare_tcp(sock, options)
        return
    if options.broadcast:
        set_option(sock, "SO_BROADCAST", 1)
    if options.multicast_interface:
        multicast.send_from(sock, options.multicast_interface)


def _prepare_tcp(sock: socket.socket, options: Options) -> None:
    set_option(sock, "TCP_NODELAY", int(options.tcp_nodelay))
    if options.linger >= 0:
        set_option(sock, "SO_LINGER", linger_bytes(options.linger))
    if options.tcp_keepalive:
        keep_alive(
            sock,
            options.tcp_keepalive,
            options.tcp_keepalive_interval,
            options.tcp_keepalive_count,
        )


def keep_alive(sock: socket.socket, idle: int, interval: int, count: int) -> None:
    set_option(sock, "SO_KEEPALIVE", 1)
    for name, value in ((_IDLE, idle), ("TCP_KEEPINTVL", interval), ("TCP_KEEPCNT", count)):
        set_option(sock, name, value)


def linger_bytes(seconds: int) -> bytes:
    if whole_number("SO_LINGER", seconds) > LONGEST_LINGER:
        raise ValueError(f"SO_LINGER is at most {LONGEST_LINGER} seconds, not {shown(seconds)}")
    return _LINGER.pack(int(seconds >= 0), max(0, seconds))


def whole_number(name: str, value: int) -> int:
    if not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {shown(value)}")
    return value


def byte_count(name: str, size: int) -> int:
    if whole_number(name, size) < 1:  # Linux would read it as a very large number
        raise ValueError(f"{name} must be 1 byte or more, not {shown(size)}")
    return size


def device_bytes(name: str) -> bytes:
    if not isinstance(name, str):
        raise TypeError(f"SO_BINDTODEVICE must be the name of an interface, not {shown(name)}")
    if not multicast.is_interface_name(name):
        raise OSError(
            errno.ENODEV, f"SO_BINDTODEVICE: no interface can have the name {shown(name)}"
        )
    return os.fsencode(name) + b"\0"


def set_option(sock: socket.socket, name: str, value: int | bytes) -> None:
    """setsockopt(2). Raises OSError with errno and the option's name, and ValueError."""
    level = socket.IPPROTO_TCP if name.startswith("TCP_") else socket.SOL_SOCKET
    if not hasattr(socket, name):
        raise OSError(errno.ENOPROTOOPT, f"this system has no {name}")
    if (
        not isinstance(value, bytes)
        and not -multicast.INT_RANGE <= whole_number(name, value) < multicast.INT_RANGE
    ):
        raise ValueError(f"{name}={shown(value)} does not fit into an int of setsockopt(2)")
    try:
        sock.setsockopt(level, getattr(socket, name), value)
    except OSError as error:
        number = error.errno or 0
        text = f"{name}={value!r} was refused: {os.strerror(number)}"
        raise OSError(number, text) from error


class borrowed:  # noqa: N801  # it is used like a function
    """A temporary socket object for a descriptor that it does not own.

    Not a generator, which may need memory to finish: a socket object left behind would close the
    descriptor.
    """

    __slots__ = ("_fd", "_sock")

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> socket.socket:
        self._sock = socket.SocketType(fileno=self._fd)
        return cast("socket.socket", self._sock)

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._sock.detach()


def listens(sock: socket.socket) -> bool:
    """Whether it is a listening socket; False if the system cannot report it."""
    known = getattr(socket, "SO_ACCEPTCONN", None)
    return known is not None and bool(sock.getsockopt(socket.SOL_SOCKET, known))


def is_itself(fd: int) -> bool:
    """Whether a socket is connected to its own address (a simultaneous open with itself)."""
    try:
        with borrowed(fd) as sock:
            return bool(sock.getsockname()[:2] == sock.getpeername()[:2])
    except OSError:  # no longer connected
        return False


def never_linger(sock: socket.socket) -> None:
    """Disable an SO_LINGER with a time, for which close(2) would block the loop (socket(7))."""
    with suppress(OSError):
        set_to = sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.size)
        is_on, seconds = _LINGER.unpack(set_to)
        if is_on and seconds:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER.pack(0, 0))


def close_socket(sock: socket.socket) -> None:
    """Close a socket without blocking."""
    never_linger(sock)
    sock.close()


def close_descriptor(fd: int) -> None:
    """Close the descriptor of a socket without blocking."""
    try:
        with suppress(OSError), borrowed(fd) as sock:
            never_linger(sock)
    finally:
        os.close(fd)
