"""Socket addresses in the form that the contract uses: packed, as this system's `struct sockaddr`.

Like `completion.py`, this file is plain vocabulary that every layer shares.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final

# On BSD and macOS a length byte comes before the family, which has one byte as well.
_HAS_LENGTH: Final = sys.platform.startswith(
    ("darwin", "freebsd", "openbsd", "netbsd", "dragonfly")
)
# Whether a socket bound to a wildcard address can report where each datagram was sent to and answer
# from that address, even with both families on one socket.
TELLS_LOCAL: Final = sys.platform.startswith("linux") and hasattr(socket.socket, "recvmsg_into")
IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)  # Python before 3.14 does not name it
LOCAL_ROOM: Final = 128  # bytes of control messages that may come with a datagram
_CACHED: Final = 1024  # addresses whose conversion is cached


@lru_cache(_CACHED)
def pack(family: int, address: Any) -> bytes:
    """Pack an address as Python's socket module has it.

    The host must be numeric; raises OSError if it is not.
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
    """Unpack a sockaddr: (family, address as Python's socket module has it).

    The address of an unnamed Unix socket is "".
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
        return family, path  # in the abstract namespace
    return family, path.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _host6(packed: bytes, scope: int) -> str:
    """The host with its scope, if it has one, as getpeername returns it."""
    host = socket.inet_ntop(socket.AF_INET6, packed)
    if not scope:
        return host
    try:
        return f"{host}%{socket.if_indextoname(scope)}"
    except OSError:
        return f"{host}%{scope}"


Ancillary = tuple[tuple[int, int, bytes], ...]  # of recvmsg and sendmsg
Way = tuple[Any, Ancillary]


def local_of(family: int, ancillary: Iterable[tuple[int, int, bytes]]) -> bytes:
    """The packed sockaddr that a datagram was sent to, from recvmsg's ancillary data; else b""."""
    found = b""
    for level, kind, data in ancillary:
        if level == socket.IPPROTO_IP and kind == IP_PKTINFO and len(data) >= 12:
            # Our own address to answer from, also for multicast and broadcast. The system does not
            # report it for datagrams that arrived before the option was set.
            return _local4(family, data[4:8] if data[4:8] != bytes(4) else data[8:12])
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= 20:
            found = _local6(data)
    return found


@lru_cache(_CACHED)
def _local4(family: int, host: bytes) -> bytes:
    if host == bytes(4) or host[0] >= 0xE0:  # multicast or broadcast
        return b""
    number = socket.inet_ntop(socket.AF_INET, host)
    if family == socket.AF_INET6:
        return pack(family, (f"::ffff:{number}", 0))
    return pack(family, (number, 0))


@lru_cache(_CACHED)
def _local6(info: bytes) -> bytes:
    host = info[:16]
    if host[0] == 0xFF or host == bytes(16):  # multicast: it cannot be a source address
        return b""
    is_link = host[0] == 0xFE and host[1] & 0xC0 == 0x80
    (scope,) = struct.unpack_from("=I", info, 16)
    number = socket.inet_ntop(socket.AF_INET6, host)
    return pack(socket.AF_INET6, (number, 0, 0, scope if is_link else 0))


@lru_cache(_CACHED)
def way_of(packed: bytes) -> Way:
    """The destination of a packet, and the ancillary data for sendmsg that sets its source address.

    The destination may be followed by a source address of the same size.
    """
    family, address = unpack(packed)
    size = 16 if family == socket.AF_INET else 28 if family == socket.AF_INET6 else len(packed)
    if len(packed) != 2 * size:
        return address, ()
    address, source = unpack(packed[:size])[1], packed[size:]
    if family == socket.AF_INET:
        return address, ((socket.IPPROTO_IP, IP_PKTINFO, bytes(4) + source[4:8] + bytes(4)),)
    info = source[8:24] + source[24:28]
    return address, ((socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, info),)


def ask_for_local(sock: socket.socket) -> bool:
    """Ask the system to report where each datagram was sent to. Returns whether it will.

    It does on Linux, for IPv4 and IPv6 sockets that are bound to a wildcard address.
    """
    if not TELLS_LOCAL or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    try:
        if sock.getsockname()[0] not in ("0.0.0.0", "::"):
            return False
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    except OSError:
        return False  # served as on other systems
    return True


def tells_local(sock: socket.socket) -> bool:
    """Whether `ask_for_local` has enabled the report on this socket."""
    asked = ((socket.IPPROTO_IP, IP_PKTINFO), (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO))
    if not TELLS_LOCAL or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    for level, option in asked[: 1 if sock.family == socket.AF_INET else 2]:
        with suppress(OSError):
            if sock.getsockopt(level, option):
                return True
    return False
