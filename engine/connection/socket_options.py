"""The socket options of connections and datagrams.

These have only a descriptor; a temporary socket object is made for each call.
"""

from __future__ import annotations

from ..base import multicast
from ..base.sockets import (
    borrowed,
    byte_count,
    device_bytes,
    keep_alive,
    linger_bytes,
    set_option,
    whole_number,
)


class SocketOptions:
    """Each `set_` method raises OSError with errno and the option's name if the system refuses it,
    ValueError with the name for a number out of range, and TypeError.

    On the reactor's thread.
    """

    __slots__ = ()

    def set_no_delay(self, on: bool) -> None:
        """Send small writes at once (TCP_NODELAY, tcp(7)). gnet: SetNoDelay."""
        self._set("TCP_NODELAY", int(whole_number("TCP_NODELAY", on)))

    def set_read_buffer(self, size: int) -> None:
        """Set the size of the kernel's receive buffer (SO_RCVBUF, socket(7)), in bytes.

        gnet: SetReadBuffer.
        """
        self._set("SO_RCVBUF", byte_count("SO_RCVBUF", size))

    def set_write_buffer(self, size: int) -> None:
        """Set the size of the kernel's send buffer (SO_SNDBUF, socket(7)), in bytes.

        gnet: SetWriteBuffer.
        """
        self._set("SO_SNDBUF", byte_count("SO_SNDBUF", size))

    def set_linger(self, seconds: int) -> None:
        """Set SO_LINGER (socket(7)): negative turns it off, 0 resets on close. gnet: SetLinger.

        Even with a time, the engine never blocks in close: it turns the option off first, and the
        kernel continues to send. The time applies to a duplicate that others close later.
        """
        self._set("SO_LINGER", linger_bytes(seconds))

    def set_keep_alive(self, on: bool, idle: int = 60, interval: int = 10, count: int = 5) -> None:
        """Probe an idle peer (SO_KEEPALIVE, tcp(7)): after `idle` seconds, then every `interval`
        seconds; give up after `count` probes. gnet: SetKeepAlive, SetKeepAlivePeriod."""
        with self._borrow() as sock:
            if on:
                keep_alive(sock, idle, interval, count)
            else:
                set_option(sock, "SO_KEEPALIVE", 0)

    def set_bind_to_device(self, name: str) -> None:
        """Use only this interface (SO_BINDTODEVICE, socket(7)). gnet: WithBindToDevice."""
        self._set("SO_BINDTODEVICE", device_bytes(name))

    def set_multicast_interface(self, interface: str | int) -> None:
        """Send multicast datagrams from this interface, given by name or index."""
        with self._borrow() as sock:
            multicast.send_from(sock, interface)

    def _borrow(self) -> borrowed:
        """The socket for one call. Raises WrongThread, or ConnectionClosed."""
        raise NotImplementedError

    def _set(self, name: str, value: int | bytes) -> None:
        with self._borrow() as sock:
            set_option(sock, name, value)
