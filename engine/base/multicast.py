"""Multicast groups of a datagram socket: join, leave, and the interface to send from."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .errors import shown

INT_RANGE = 1 << 31
LONGEST_NAME = 15  # bytes of an interface's name: IFNAMSIZ without its end

_IP_MULTICAST_ALL = 49  # Python does not name them
_IPV6_MULTICAST_ALL = 29
_VERSIONS: dict[int, tuple[int, int]] = {socket.AF_INET: (4, 6), socket.AF_INET6: (6, 4)}


def is_interface_name(name: str) -> bool:
    """Whether an interface could have that name; "" stands for none."""
    try:
        raw = os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return len(raw) <= LONGEST_NAME and b"\0" not in raw and b"/" not in raw


def is_multicast(host: str) -> bool:
    """Whether a numeric host is the address of a group."""
    return ipaddress.ip_address(host.partition("%")[0]).is_multicast


def join(sock: socket.socket, group: str, interface: str | int) -> None:
    """Receive what is sent to the group."""
    _set_membership(sock, group, interface, "JOIN_GROUP", "ADD_MEMBERSHIP")


def leave(sock: socket.socket, group: str, interface: str | int) -> None:
    """Receive it no more."""
    _set_membership(sock, group, interface, "LEAVE_GROUP", "DROP_MEMBERSHIP")


def only_joined(sock: socket.socket) -> None:
    """Receive from the groups that this very socket has joined, and not from those that any has.

    Linux only; elsewhere it is so anyhow (IP_MULTICAST_ALL of ip(7), IPV6_MULTICAST_ALL).
    """
    if not sys.platform.startswith("linux"):
        return
    sock.setsockopt(socket.IPPROTO_IP, _IP_MULTICAST_ALL, 0)
    if sock.family == socket.AF_INET6:
        with suppress(OSError):  # before Linux 4.20
            sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_MULTICAST_ALL, 0)


def send_from(sock: socket.socket, interface: str | int) -> None:
    """Send multicast datagrams from this interface (IP_MULTICAST_IF, IPV6_MULTICAST_IF)."""
    index = interface_index(interface)
    with _named(f"{_prefix(sock)}_MULTICAST_IF", interface):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        else:
            request = struct.pack("4s4si", bytes(4), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)


def interface_index(interface: str | int) -> int:
    """The index of an interface by its name; 0, the system's choice, for "".

    Raises OSError where there is none, TypeError and ValueError for what is no name or index.
    """
    if isinstance(interface, int):
        if not 0 <= interface < INT_RANGE:
            raise ValueError(f"the index of an interface is from 0 on, not {shown(interface)}")
        return int(interface)
    if not isinstance(interface, str):
        raise TypeError(f"an interface has a name or an index, and is not {shown(interface)}")
    with _named("multicast interface", interface):
        if not is_interface_name(interface):
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return socket.if_nametoindex(interface) if interface else 0


def _prefix(sock: socket.socket) -> str:
    return "IPV6" if sock.family == socket.AF_INET6 else "IP"


def _set_membership(
    sock: socket.socket, group: str, interface: str | int, name6: str, name4: str
) -> None:
    if not isinstance(group, str):
        raise TypeError(f"a group is a numeric address as text, not {shown(group)}")
    group, _, scope = group.partition("%")
    index = interface_index(interface or scope)
    name = name6 if sock.family == socket.AF_INET6 else name4
    with _named(f"{_prefix(sock)}_{name}", group):
        if sock.type != socket.SOCK_DGRAM or sock.family not in _VERSIONS:
            raise OSError(errno.EOPNOTSUPP, "groups are joined by udp:// listeners only")
        if sock.family == socket.AF_INET6:
            request = _packed(sock.family, group) + struct.pack("@I", index)
            sock.setsockopt(socket.IPPROTO_IPV6, getattr(socket, f"IPV6_{name6}"), request)
        else:
            request = struct.pack("4s4si", _packed(sock.family, group), bytes(4), index)
            sock.setsockopt(socket.IPPROTO_IP, getattr(socket, f"IP_{name4}"), request)


def _packed(family: int, group: str) -> bytes:
    try:
        return socket.inet_pton(family, group)
    except OSError:
        here, other = _VERSIONS[family]
        raise OSError(
            errno.EINVAL,
            f"no IPv{here} address, and the listener is of IPv{here}; "
            f"groups of IPv{other} are joined by one of udp{other}://",
        ) from None


@contextmanager
def _named(option: str, value: object) -> Iterator[None]:
    """Put the option's name into what the system refuses."""
    try:
        yield
    except OSError as error:
        text = f"{option}={value!r} was refused: {error.strerror or error}"
        # if_nametoindex(3) tells no errno, and fails for one reason only.
        raise OSError(error.errno or errno.ENODEV, text) from error
