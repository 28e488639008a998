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
LONGEST_NAME = 15  # bytes of an interface's name: IFNAMSIZ without the terminating zero

_IP_MULTICAST_ALL = 49  # Python does not define these two
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
    """Whether a numeric host is a multicast address."""
    return ipaddress.ip_address(host.partition("%")[0]).is_multicast


def join(sock: socket.socket, group: str, interface: str | int) -> None:
    """Join a multicast group."""
    _set_membership(sock, group, interface, "JOIN_GROUP", "ADD_MEMBERSHIP")


def leave(sock: socket.socket, group: str, interface: str | int) -> None:
    """Leave a multicast group."""
    _set_membership(sock, group, interface, "LEAVE_GROUP", "DROP_MEMBERSHIP")


def only_joined(sock: socket.socket) -> None:
    """Receive only from groups that this socket has joined, not from those that any socket has.

    Needed on Linux only (IP_MULTICAST_ALL of ip(7), IPV6_MULTICAST_ALL).
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
    """The index of an interface, given its name or index; 0, the system's choice, for "".

    Raises OSError if there is no such interface, TypeError, and ValueError.
    """
    if isinstance(interface, int):
        if not 0 <= interface < INT_RANGE:
            raise ValueError(f"an interface index is 0 or more, not {shown(interface)}")
        return int(interface)
    if not isinstance(interface, str):
        raise TypeError(f"an interface is given by name or index, not by {shown(interface)}")
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
            raise OSError(errno.EOPNOTSUPP, "only udp:// listeners can join groups")
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
            f"not an IPv{here} address, and this is an IPv{here} listener; "
            f"for IPv{other} groups use udp{other}://",
        ) from None


@contextmanager
def _named(option: str, value: object) -> Iterator[None]:
    """Add the option's name and value to an OSError."""
    try:
        yield
    except OSError as error:
        text = f"{option}={value!r} was refused: {error.strerror or error}"
        # if_nametoindex(3) sets no errno, and fails for one reason only.
        raise OSError(error.errno or errno.ENODEV, text) from error
