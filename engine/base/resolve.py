"""Resolving host names; what no resolver could accept is refused before.

A host may come from anywhere, even from a peer: whatever is wrong with it raises socket.gaierror.
"""

from __future__ import annotations

import socket
from itertools import chain, zip_longest
from typing import Any, Final

from .address import Address
from .errors import shortened

Target = tuple[int, Any]  # family and address, as Python's socket module has them
LONGEST_HOST: Final = 255  # characters; RFC 1035 allows slightly fewer in a name


def check_host(address: Address) -> None:
    """Raise socket.gaierror for a host that can be neither a name nor a numeric address."""
    why = _not_a_host(address.host)
    if why:
        raise unknown_host(address, why)


def resolve(address: Address, family: int, flags: int = 0) -> list[Target]:
    """The addresses of a host without duplicates, IPv6 and IPv4 alternating.

    An empty host is this machine. May block, unless `flags` prevent it. Raises socket.gaierror.
    """
    check_host(address)
    try:
        found = socket.getaddrinfo(
            address.host or None, address.port, family=family, type=address.type, flags=flags
        )
    except (OSError, ValueError) as error:  # ValueError: it cannot be encoded for DNS
        refusal = unknown_host(address, error)
    else:
        return _interleaved(found)
    try:
        raise refusal  # out here it has no context, whose frames would form a cycle
    finally:
        del refusal  # for the same reason


def _interleaved(found: list[Any]) -> list[Target]:
    by_family: dict[int, dict[Target, None]] = {}
    for of_family, _, _, _, where in found:
        by_family.setdefault(of_family, {})[of_family, where] = None
    mixed = chain.from_iterable(zip_longest(*by_family.values()))
    return [target for target in mixed if target is not None]


def unknown_host(address: Address, why: object) -> OSError:
    """The error for a host that cannot be resolved, with the reason."""
    number = why.errno if isinstance(why, OSError) and why.errno else socket.EAI_NONAME
    text = f"the host of {shortened(str(address))} cannot be resolved: {shortened(str(why))}"
    return socket.gaierror(number, text)


def _not_a_host(host: str) -> str:
    """What is wrong with the host; "" if nothing is visibly wrong."""
    if len(host) > LONGEST_HOST:
        return f"a name has at most {LONGEST_HOST} characters"
    if any(char < " " or char == "\x7f" for char in host):
        return "it contains a control character"  # in C, a NUL would end it
    try:
        encoded = host.encode("idna") if host else b""
    except UnicodeError as error:
        return str(error)
    text = encoded.decode("ascii")
    if not host.isascii() and (":" in text or _is_number(text)):
        return "it is a numeric address with digits that are not ASCII"
    return ""


def _is_number(host: str) -> bool:
    """Whether it is an IPv4 address, including old forms such as `1` for 0.0.0.1."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True
