"""Socket addresses as the contract has them: packed, as `struct sockaddr` of this system.

Like `completion.py` this file is plain vocabulary that all floors share.
"""

from __future__ import annotations

import socket
import struct
import sys
from functools import lru_cache
from typing import Any, Final

# BSD and macOS have a length before the family, and one byte for each.
_HAS_LENGTH: Final = sys.platform.startswith(
    ("darwin", "freebsd", "openbsd", "netbsd", "dragonfly")
)
_CACHED: Final = 1024  # peers whose address is not taken apart again


@lru_cache(_CACHED)
def pack(family: int, address: Any) -> bytes:
    """A packed sockaddr of what Python's socket module calls an address.

    The host is a number already; raises OSError where it is not.
    """
    if family == socket.AF_INET:
        host, port = address[:2]
        body = struct.pack("!H4s8x", port, socket.inet_aton(host))
    elif family == socket.AF_INET6:
        host, port, flow, scope = (*address, 0, 0)[:4]
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
        body = struct.pack("!HI16s", port, flow, packed) + struct.pack("=I", scope)
    else:
        path = address if isinstance(address, bytes) else address.encode("utf-8", "surrogateescape")
        body = path if path[:1] in (b"", b"\0") else path + b"\0"
    head = struct.pack("BB", len(body) + 2, family) if _HAS_LENGTH else struct.pack("=H", family)
    return head + body


@lru_cache(_CACHED)
def unpack(packed: bytes) -> tuple[int, Any]:
    """(family, address as Python's socket module has it) of a packed sockaddr.

    A nameless Unix socket has the address "".
    """
    if len(packed) < 2:
        return socket.AF_UNSPEC, ""
    family = packed[1] if _HAS_LENGTH else struct.unpack_from("=H", packed)[0]
    if family == socket.AF_INET:
        (port,) = struct.unpack_from("!H", packed, 2)
        return family, (socket.inet_ntop(family, packed[4:8]), port)
    if family == socket.AF_INET6:
        port, flow = struct.unpack_from("!HI", packed, 2)
        (scope,) = struct.unpack_from("=I", packed, 24)
        return family, (_host6(packed[8:24], scope), port, flow, scope)
    path = packed[2:]
    if path[:1] == b"\0":
        return family, path  # of the abstract name space
    return family, path.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _host6(packed: bytes, scope: int) -> str:
    """With its scope where it has one, as getpeername gives it."""
    host = socket.inet_ntop(socket.AF_INET6, packed)
    if not scope:
        return host
    try:
        return f"{host}%{socket.if_indextoname(scope)}"
    except OSError:
        return f"{host}%{scope}"
