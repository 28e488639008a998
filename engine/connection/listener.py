"""The listening sockets of an engine, created in `binding.py`."""

from __future__ import annotations

import contextlib
import os
import socket

from ..base.address import Address
from ..base.multicast import join, leave


class Listener:
    """An address that an engine serves; `conn.listener` is the one that accepted a connection.

    Its methods are for any thread, as long as the engine runs.
    """

    def __init__(
        self, address: Address, socks: list[socket.socket], prepares_each: bool = False
    ) -> None:
        self._address = address
        self._socks = socks  # one, or one for each reactor
        self._file = _inode(address)
        self.prepares_each = prepares_each  # accepted sockets do not inherit its options

    def __repr__(self) -> str:
        return f"<ringnet.Listener {self.address}>"

    @property
    def address(self) -> str:
        """The address that it is really bound to."""
        return str(self._address)

    @property
    def scheme(self) -> str:
        """`tcp`, `udp`, `unix`, ..., as in its address."""
        return self._address.scheme

    @property
    def has_one_for_each(self) -> bool:
        """For the engine: whether each reactor has a socket, and keeps what it accepts."""
        return len(self._socks) > 1

    @property
    def parsed(self) -> Address:
        """For the engine: the parsed address."""
        return self._address

    def dup(self) -> socket.socket:
        """A new socket object for the same listening socket. gnet: Dup, DupListener.

        As long as it is open, the address stays in use and new connections queue up in it. Raises
        OSError once the engine has stopped.
        """
        return self._socks[0].dup()

    def join_group(self, group: str, interface: str | int = "") -> None:
        """Join a multicast group (ip(7), ipv6(7)), on an interface given by name or index.

        With `reuse_port` the first reactor receives it. The group must be of the listener's family,
        which is IPv6 for `udp://:PORT`: use `udp4://:PORT` for an IPv4 group. Raises OSError with
        the option's name. gnet: WithMulticastInterfaceIndex.
        """
        join(self._socks[0], group, interface)  # on all, each reactor would get a copy of its own

    def leave_group(self, group: str, interface: str | int = "") -> None:
        """Leave a multicast group. Raises OSError with the option's name."""
        leave(self._socks[0], group, interface)

    def inheritable(self) -> list[int]:
        """For the engine: descriptors for another process."""
        found = self.descriptors()
        try:
            for fd in found:
                os.set_inheritable(fd, True)
        except BaseException:
            close_all(found)
            raise
        return found

    def leave_file(self) -> None:
        """For the engine: leave it to a successor to remove the file of a Unix socket."""
        self._file = None

    def descriptors(self) -> list[int]:
        """For the engine: new descriptors for the reactors: one, or one for each of them."""
        found: list[int] = []
        try:
            for sock in self._socks:
                found.append(os.dup(sock.fileno()))  # noqa: PERF401  # for the cleanup below
        except BaseException:
            close_all(found)
            raise
        return found

    def close(self) -> None:
        """For the engine: close its own sockets, and then remove the file, which may raise OSError:
        the program may have dropped the privileges that it had when it bound."""
        for sock in self._socks:
            sock.close()
        file, self._file = self._file, None
        if file is not None and file == _inode(self._address):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._address.sun_path)


def hand_over(listeners: list[Listener]) -> dict[str, list[int]]:
    """What `Engine.hand_over` returns: descriptors of all listeners, or of none."""
    found: dict[str, list[int]] = {}
    try:
        for listener in listeners:
            found[listener.address] = listener.inheritable()
    except BaseException:
        for fds in found.values():
            close_all(fds)
        raise
    for listener in listeners:
        listener.leave_file()
    return found


def close_all(fds: list[int]) -> None:
    """Close descriptors that have no owner."""
    for fd in fds:
        os.close(fd)


def _inode(address: Address) -> tuple[int, int] | None:
    """The device and inode of a Unix socket's file, if it has one."""
    if not address.is_unix or address.is_abstract:
        return None
    try:
        found = os.stat(address.sun_path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
