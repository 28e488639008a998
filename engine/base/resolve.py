"""Names of hosts become socket addresses; what no resolver could take is refused before.

A host may come from anywhere, also from a peer: whatever is wrong with it is a socket.gaierror.
"""

from __future__ import annotations

import socket
from itertools import chain, zip_longest
from typing import Any, Final

from .address import Address
from .errors import shortened

Target = tuple[int, Any]  # family and address, as Python's socket module has them
LONGEST_HOST: Final = 255  # characters; RFC 1035 has room for fewer in a name


def check_host(address: Address) -> None:
    """Raise socket.gaierror for what can be neither a name nor a number."""
    why = _not_a_host(address.host)
    if why:
        raise unknown_host(address, why)


def resolve(address: Address, family: int, flags: int = 0) -> list[Target]:
    """The addresses of a host, IPv6 and IPv4 taking turns, each once. Raises socket.gaierror.

    An empty host is this machine. May block, unless `flags` forbid it.
    """
    check_host(address)
    try:
        found = socket.getaddrinfo(
            address.host or None, address.port, family=family, type=address.type, flags=flags
        )
    except (OSError, ValueError) as error:  # ValueError: it has no form that DNS knows
        refusal = unknown_host(address, error)
    else:
        return _taking_turns(found)
    try:
        raise refusal  # out here it has no context, whose frames would refer to it
    finally:
        del refusal  # nor does this frame


def _taking_turns(found: list[Any]) -> list[Target]:
    by_family: dict[int, dict[Target, None]] = {}
    for of_family, _, _, _, where in found:
        by_family.setdefault(of_family, {})[of_family, where] = None
    mixed = chain.from_iterable(zip_longest(*by_family.values()))
    return [target for target in mixed if target is not None]


def unknown_host(address: Address, why: object) -> OSError:
    """That a host cannot be resolved, and why."""
    number = why.errno if isinstance(why, OSError) and why.errno else socket.EAI_NONAME
    text = f"the host of {shortened(str(address))} cannot be resolved: {shortened(str(why))}"
    return socket.gaierror(number, text)


def _not_a_host(host: str) -> str:
    """What is wrong with it. "": nothing that can be seen without asking."""
    if len(host) > LONGEST_HOST:
        return f"no name has more than {LONGEST_HOST} characters"
    if any(char < " " or char == "\x7f" for char in host):
        return "a control character is in it"  # C would take a NUL for its end
    try:
        encoded = host.encode("idna") if host else b""
    except UnicodeError as error:
        return str(error)
    text = encoded.decode("ascii")
    if not host.isascii() and (":" in text or _is_number(text)):
        return "it is a number in digits that are not ASCII"
    return ""


def _is_number(host: str) -> bool:
    """Whether it is an IPv4 address, also in one of the old forms, such as `1` for 0.0.0.1."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True
