"""The local address that a connection is dialed from, if the program chooses one."""

from __future__ import annotations

import ipaddress
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from .address import Address, parse_address
from .errors import AddressError, shown
from .resolve import resolve

# IP_BIND_ADDRESS_NO_PORT: Linux picks the port in connect(2), so that one port can serve several
# destinations (ip(7)).
_NO_PORT: Final = 24 if sys.platform == "linux" else None
_FORMS: Final = "write it as '127.0.0.1', '127.0.0.1:0', '[::1]:0' or ('127.0.0.1', 0)"

LocalAddress = str | tuple[str, int] | tuple[str, int, int, int] | None


@dataclass(frozen=True, slots=True)
class Source:
    """A family (AF_UNSPEC if only a port was chosen), and the argument of `socket.bind`."""

    family: int
    where: Any

    def __str__(self) -> str:
        host, port = self.where[:2]
        return f"{host} port {port}" if host else f"port {port}"

    def bind(self, sock: socket.socket) -> None:
        """Bind a socket that is about to connect. Raises OSError."""
        where = self.where
        if self.family == socket.AF_UNSPEC and sock.family == socket.AF_INET6:
            where = ("::", where[1])
        if where[1] and sock.type == socket.SOCK_STREAM:
            # The port may be in TIME_WAIT, or in use by another attempt of the same dial.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif not where[1] and _NO_PORT is not None:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_IP, _NO_PORT, 1)
        sock.bind(where)


def parse_source(local: object, address: Address) -> Source | None:
    """Where to dial `address` from; None if the system chooses.

    Raises AddressError for anything but a numeric address that suits `address`.
    """
    if local is None:
        return None
    if address.is_unix:
        raise AddressError(f"local_address is for TCP and UDP, not for {address.scheme}")
    given = _parse(local, address)
    if given.family != address.family and socket.AF_UNSPEC not in (given.family, address.family):
        raise AddressError(
            f"local_address {shown(local)} is of another family than {shown(str(address))}"
        )
    if not given.host:
        return Source(socket.AF_UNSPEC, ("", given.port))
    try:
        family, where = resolve(given, address.family or given.family, socket.AI_NUMERICHOST)[0]
    except socket.gaierror:
        raise AddressError(
            f"local_address {shown(local)} is not a numeric address of the family of "
            f"{shown(str(address))}: {_FORMS}"
        ) from None
    if family not in _families(address, family):
        raise AddressError(
            f"local_address {shown(local)} is of another family than {shown(str(address))}"
        )
    return Source(family, where)


def _families(address: Address, otherwise: int) -> set[int]:
    """The families of a numeric destination."""
    try:
        return {family for family, _ in resolve(address, address.family, socket.AI_NUMERICHOST)}
    except socket.gaierror:
        return {otherwise}  # a name may have addresses of both families


def _parse(local: object, address: Address) -> Address:
    if isinstance(local, (tuple, list)):
        local = _joined(local)
    if not isinstance(local, str):
        raise AddressError(f"local_address {shown(local)} is not an address: {_FORMS}")
    if "://" in local:
        given = parse_address(local)
        if given.is_unix or given.is_inherited or given.type != address.type:
            raise AddressError(
                f"local_address {shown(local)} does not have the scheme {address.scheme}"
            )
        return given
    with suppress(ValueError):
        host = local[1:-1] if local[:1] == "[" and local[-1:] == "]" else local
        return Address(address.scheme, str(ipaddress.ip_address(host)))
    try:
        return parse_address(f"{address.scheme}://{local}")
    except AddressError as error:
        raise AddressError(f"local_address {shown(local)} is not an address: {_FORMS}") from error


def _joined(pair: Any) -> str:
    """An address as `socket.getsockname` returns it, as text."""
    if len(pair) not in (2, 4) or not isinstance(pair[0], str) or type(pair[1]) is not int:
        raise AddressError(f"local_address {shown(pair)} is not an address: {_FORMS}")
    host = f"[{pair[0]}]" if ":" in pair[0] else pair[0]
    return f"{host}:{pair[1] if 0 <= pair[1] <= 65_535 else 65_536}"
