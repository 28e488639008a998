"""Where a datagram is to be sent: what a program may give as an address, checked and packed.

The law of this file: whatever is no address raises at the call, with what to give instead.
"""

from __future__ import annotations

import errno
import os
import socket
from functools import lru_cache
from typing import Any, Final

from ...sockaddr import pack

_CACHED: Final = 1024  # addresses that are not taken apart again
_LONGEST_PATH: Final = 107 if os.name == "posix" else 1 << 15  # bytes, of `struct sockaddr_un`
_FORMS: Final = "(host, port), or (host, port, flowinfo, scope) for IPv6"


def destination(family: int, address: Any, only_v6: bool = False) -> bytes:
    """The packed sockaddr of where to send a datagram, in the form of `Datagram.remote_address`.

    A list is as good as a tuple, and an IPv4 address is for a socket of both families as well.
    Raises TypeError for what has another form, ValueError for a number out of its range, and
    OSError for a host that is no numeric address, or that the socket cannot send to.
    """
    if family not in (socket.AF_INET, socket.AF_INET6):
        return _unix(family, address)
    if isinstance(address, list):
        address = tuple(address)
    if not isinstance(address, tuple) or not 2 <= len(address) <= 4:
        raise TypeError(f"an address is {_FORMS}, not {address!r}")
    host, *numbers = address
    if not isinstance(host, str) or any(type(number) is not int for number in numbers):
        raise TypeError(f"an address is {_FORMS}, with text and whole numbers, not {address!r}")
    return _internet(family, address, only_v6)


@lru_cache(_CACHED)
def _internet(family: int, address: tuple[Any, ...], only_v6: bool) -> bytes:
    host, port, flow, scope = (*address, 0, 0)[:4]
    if not 0 < port <= 65_535:
        raise ValueError(f"a port to send to is from 1 to 65535, not {port}")
    if not (0 <= flow < 1 << 20 and 0 <= scope < 1 << 32):
        raise ValueError(f"flowinfo has 20 bits and a scope 32, unlike those of {address!r}")
    host, _, zone = host.partition("%")
    is_v4 = _is_number(socket.AF_INET, host)
    if not is_v4 and not _is_number(socket.AF_INET6, host):
        raise OSError(
            errno.EINVAL, f"{address[0]!r} is no IP address: resolve a name before, in a thread"
        )
    if family == socket.AF_INET:
        return pack(family, (_as_v4(host, is_v4), port))
    if is_v4 and only_v6:
        raise OSError(errno.ENETUNREACH, f"a socket of IPv6 alone cannot send to {host}")
    return pack(family, (f"::ffff:{host}" if is_v4 else host, port, flow, scope or _scope(zone)))


def _is_number(family: int, host: str) -> bool:
    try:
        socket.inet_pton(family, host)
    except (OSError, ValueError):  # ValueError: a zero byte, or no ASCII
        return False
    return True


def _as_v4(host: str, is_v4: bool) -> str:
    """What a socket of IPv4 calls the host: it may be written as IPv6 does."""
    if is_v4:
        return host
    packed = socket.inet_pton(socket.AF_INET6, host)
    if packed[:12] != bytes(10) + b"\xff\xff":
        raise OSError(errno.EAFNOSUPPORT, f"a socket of IPv4 cannot send to {host}")
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
    """A path as text or bytes; of the abstract name space where it begins with a zero byte."""
    if not isinstance(address, str | bytes):
        raise TypeError(f"the address of a Unix socket is its path, not {address!r}")
    path = os.fsencode(address)
    if not path:
        raise ValueError("a Unix socket without a name cannot be sent to")
    is_file = path[:1] != b"\0"
    if is_file and b"\0" in path:
        raise ValueError(f"a path has no zero byte, unlike {address!r}")
    if len(path) > (_LONGEST_PATH if is_file else _LONGEST_PATH + 1):
        text = f"a Unix path has at most {_LONGEST_PATH} bytes, and this has {len(path)}"
        raise OSError(errno.ENAMETOOLONG, text)
    return pack(family, path)
