"""The destination of a datagram: checking and packing the address that a program passes.

The law of this file: an invalid address raises at the call, with a message that helps.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import lru_cache
from typing import Any, Final

from ...sockaddr import pack

_CACHED: Final = 1024  # addresses whose packed form is cached
_LONGEST_PATH: Final = 107 if os.name == "posix" else 1 << 15  # bytes, of `struct sockaddr_un`
_FORMS: Final = "(host, port), or (host, port, flowinfo, scope) for IPv6"


def destination(family: int, address: Any, only_v6: bool = False) -> bytes:
    """Pack the address to send a datagram to, in the form of `Datagram.remote_address`.

    A list may be given instead of a tuple, and an IPv4 address even if the socket serves both
    families. Raises TypeError for another form, ValueError for a number out of range, and OSError
    for a host that is not a numeric address, or that the socket cannot send to.
    """
    if family not in (socket.AF_INET, socket.AF_INET6):
        return _unix(family, address)
    if isinstance(address, list):
        address = tuple(address)
    if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
        raise TypeError(f"an address must be {_FORMS}, not {address!r}")
    host, *numbers = address
    if not isinstance(host, str) or any(type(number) is not int for number in numbers):
        raise TypeError(f"an address must be {_FORMS}, with a str and ints, not {address!r}")
    return _internet(family, address, only_v6)


@lru_cache(_CACHED)
def _internet(family: int, address: tuple[Any, ...], only_v6: bool) -> bytes:
    host, port, flow, scope = (*address, 0, 0)[:4]
    if not 0 < port <= 65_535:
        raise ValueError(f"a port to send to must be from 1 to 65535, not {port}")
    if not (0 <= flow < 1 << 20 and 0 <= scope < 1 << 32):
        raise ValueError(f"flowinfo has 20 bits and scope 32: {address!r} is out of range")
    host, _, zone = host.partition("%")
    is_v4 = _is_number(socket.AF_INET, host)
    if not is_v4 and not _is_number(socket.AF_INET6, host):
        raise OSError(
            errno.EINVAL, f"{address[0]!r} is not an IP address: resolve names first, in a thread"
        )
    if family == socket.AF_INET:
        return pack(family, (_as_v4(host, is_v4), port))
    if is_v4 and only_v6:
        raise OSError(errno.ENETUNREACH, f"an IPv6-only socket cannot send to {host}")
    return pack(family, (f"::ffff:{host}" if is_v4 else host, port, flow, scope or _scope(zone)))


def _is_number(family: int, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):  # ValueError: a zero byte, or not ASCII
        return False
    return True


def _as_v4(host: str, is_v4: bool) -> str:
    """The host in IPv4 notation: it may be given as an IPv4-mapped IPv6 address."""
    if is_v4:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host)
    if packed[:12] != bytes(10) + b"\xff\xff":
        raise OSError(errno.EAFNOSUPPORT, f"an IPv4 socket cannot send to {host}")
    return socket.inet_ntop(socket.AF_INET, packed[12:])


def _scope(zone: str) -> int:
    """The index of an interface by its name or number. Raises OSError."""
    if zone.isascii() and zone.isdigit():
        if (index := int(zone[:11])) < 1 << 32:
            return index
        raise OSError(errno.ENODEV, f"there is no interface {zone[:11]!r}")
    try:
        return socket.if_nametoindex(zone) if zone else 0
    except (OSError, ValueError) as error:
        raise OSError(errno.ENODEV, f"there is no interface {zone!r}") from error


def _unix(family: int, address: Any) -> bytes:
    """Pack a path, as str or bytes; with a leading zero byte it is in the abstract namespace."""
    if not isinstance(address, str | bytes):
        raise TypeError(f"the address of a Unix socket must be its path, not {address!r}")
    path = os.fsencode(address)
    if not path:
        raise ValueError("nothing can be sent to an unnamed Unix socket")
    is_file = path[:1] != b"\0"
    if is_file and b"\0" in path:
        raise ValueError(f"a path cannot contain a zero byte: {address!r}")
    if len(path) > (_LONGEST_PATH if is_file else _LONGEST_PATH + 1):
        text = f"a Unix path has at most {_LONGEST_PATH} bytes, and this one has {len(path)}"
        raise OSError(errno.ENAMETOOLONG, text)
    return pack(family, path)
