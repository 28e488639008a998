"""Addresses as text: `tcp://host:port` and its kin."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import AddressError

SCHEMES = ("tcp", "tcp4", "tcp6")
_SHAPE = re.compile(
    r"(?P<scheme>[a-z0-9]+)://(?:\[(?P<v6>[^\]]*)\]|(?P<host>[^\[\]:]*)):(?P<port>\d+)"
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen. An empty host is every address of this machine; port 0, any free one."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_address(text: object) -> Address:
    """Read an address. Raises AddressError, which names it and says what is expected."""
    if not isinstance(text, str):
        raise AddressError(f"an address is text such as 'tcp://127.0.0.1:9000', not {text!r}")
    scheme, separator, _ = text.partition("://")
    if not separator:
        raise AddressError(f"{text!r} is no address: write it as 'tcp://127.0.0.1:9000'")
    if scheme not in SCHEMES:
        raise AddressError(f"{text!r}: unknown scheme {scheme!r}; there are {', '.join(SCHEMES)}")
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise AddressError(
            f"{text!r} is no {scheme} address: write it as '{scheme}://HOST:PORT', "
            "an IPv6 host in brackets, such as 'tcp://[::1]:9000'"
        )
    port = int(found["port"])
    if port > 65_535:
        raise AddressError(f"{text!r}: port {port} is out of range, which is 0 to 65535")
    host = found["v6"] if found["v6"] is not None else found["host"]
    return Address(scheme, host, port)
