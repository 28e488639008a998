"""Addresses as text: `tcp://host:port`, `udp://host:port`, `unix://path` and similar."""

from __future__ import annotations

import errno
import ipaddress
import os
import re
import socket
from dataclasses import dataclass
from typing import Final

from .errors import AddressError, shortened, shown

_UNIX: Final = getattr(socket, "AF_UNIX", -1)
_PACKETS: Final = getattr(socket, "SOCK_SEQPACKET", -1)
# The family and socket type of each scheme.
SCHEMES: Final = {
    "tcp": (socket.AF_UNSPEC, socket.SOCK_STREAM),
    "tcp4": (socket.AF_INET, socket.SOCK_STREAM),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM),
    "udp": (socket.AF_UNSPEC, socket.SOCK_DGRAM),
    "udp4": (socket.AF_INET, socket.SOCK_DGRAM),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM),
    "unix": (_UNIX, socket.SOCK_STREAM),
    "unixgram": (_UNIX, socket.SOCK_DGRAM),
    "unixpacket": (_UNIX, _PACKETS),
}
LONGEST_PATH: Final = 107  # bytes: sun_path of unix(7) without the terminating zero
_SHAPE = re.compile(r"(?:\[(?P<v6>[^\]]+)\]|(?P<host>[^\[\]:]*)):(?P<port>[0-9]+)")


@dataclass(frozen=True, slots=True)
class Address:
    """An address to listen on or to dial.

    An empty host stands for every address of this machine (when dialing, for the machine itself);
    port 0 for any free port. Unix sockets have a path instead; a path that begins with `@` is a
    name in Linux's abstract namespace.
    """

    scheme: str
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.is_unix:
            return f"{self.scheme}://{self.path}"
        if self.is_inherited:
            return f"fd://{self.port}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def family(self) -> int:
        """AF_UNSPEC where the scheme leaves it open."""
        return int(SCHEMES[self.scheme][0])

    @property
    def type(self) -> int:
        """SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET."""
        return int(SCHEMES[self.scheme][1])

    @property
    def is_inherited(self) -> bool:
        """Whether `port` is the number of a descriptor that is already listening."""
        return self.scheme == "fd"

    @property
    def is_unix(self) -> bool:
        """Whether it has a path instead of a host and a port."""
        return self.scheme.startswith("unix")

    @property
    def is_abstract(self) -> bool:
        """Whether it is a name in Linux's abstract namespace, without a file."""
        return self.is_unix and self.path.startswith("@")

    @property
    def is_stream(self) -> bool:
        """Whether it is a byte stream, without message boundaries."""
        return self.type == socket.SOCK_STREAM

    @property
    def is_datagram(self) -> bool:
        """Whether one socket serves all peers, without connections."""
        return self.type == socket.SOCK_DGRAM

    @property
    def sun_path(self) -> bytes:
        """The path in the form that the system takes."""
        raw = self.path.encode("utf-8", "surrogateescape")
        return b"\0" + raw[1:] if raw.startswith(b"@") else raw


def parse_address(text: object) -> Address:
    """Parse an address. Raises AddressError, which quotes it and describes the expected form."""
    if not isinstance(text, str):
        raise AddressError(f"an address is text such as 'tcp://127.0.0.1:9000', not {shown(text)}")
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise AddressError(f"{shown(text)} is not an address: write it as 'tcp://127.0.0.1:9000'")
    if scheme == "fd":
        return _inherited(text, rest)
    if scheme not in SCHEMES:
        known = ", ".join([*SCHEMES, "fd"])
        raise AddressError(f"{shown(text)}: unknown scheme {shown(scheme)}; known are {known}")
    if -1 in SCHEMES[scheme]:
        raise AddressError(f"{shown(text)}: this system has no {scheme} sockets")
    return _with_path(text, scheme, rest) if scheme.startswith("unix") else _at(text, scheme, rest)


def _inherited(text: str, number: str) -> Address:
    if not (number.isascii() and number.isdigit() and len(number) < 10):
        raise AddressError(f"{shown(text)} is not a descriptor: write it as 'fd://3'")
    return Address("fd", port=int(number))


def address_of(sock: socket.socket) -> Address:
    """The address of a bound socket. Raises OSError for a socket of another kind."""
    kinds = {kind: scheme for scheme, kind in SCHEMES.items() if scheme[-1] not in "46"}
    if sock.family == _UNIX:
        scheme = kinds.get((_UNIX, sock.type))
        if scheme:
            return Address(scheme, path=_path_of(sock))
    scheme = kinds.get((socket.AF_UNSPEC, sock.type))
    if scheme is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        raise OSError(errno.EAFNOSUPPORT, "the socket is neither TCP, UDP nor Unix")
    host, port = sock.getsockname()[:2]
    if host == "::" and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        host = ""  # it serves IPv4 as well
    return Address(scheme, host, port)


def _path_of(sock: socket.socket) -> str:
    name = sock.getsockname()
    raw: bytes = os.fsencode(name) if isinstance(name, str) else name
    if raw.startswith(b"@"):
        raw = b"./" + raw  # a file, not an abstract name
    text = b"@" + raw[1:] if raw.startswith(b"\0") else raw
    return text.decode("utf-8", "surrogateescape")


def _with_path(text: str, scheme: str, path: str) -> Address:
    found = Address(scheme, path=path)
    try:
        size = len(found.sun_path)
    except UnicodeEncodeError:
        raise AddressError(f"{shown(text)}: the path cannot be encoded as a file name") from None
    if path in ("", "@") or "\0" in path:
        raise AddressError(
            f"{shown(text)} is not a {scheme} address: write it as '{scheme}:///run/server.sock', "
            f"or '{scheme}://@name' for a name without a file"
        )
    if size > LONGEST_PATH:
        raise AddressError(f"{shown(text)}: the path is longer than {LONGEST_PATH} bytes (unix(7))")
    return found


def _at(text: str, scheme: str, rest: str) -> Address:
    found = _SHAPE.fullmatch(rest)
    if found is None:
        raise AddressError(
            f"{shown(text)} is not a {scheme} address: write it as '{scheme}://HOST:PORT', "
            f"with an IPv6 host in brackets, such as '{scheme}://[::1]:9000'"
        )
    digits = found["port"].lstrip("0") or "0"
    if len(digits) > 5 or int(digits) > 65_535:
        raise AddressError(
            f"{shown(text)}: port {shortened(digits, 20)} is out of range (0 to 65535)"
        )
    if found["v6"] is not None and not _is_v6(found["v6"]):
        raise AddressError(f"{shown(text)}: the host in brackets is not an IPv6 address")
    return Address(scheme, found["v6"] or found["host"], int(digits))


def _is_v6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
