"""Socket addresses as callers give them: an invalid one is refused as the kernel refuses it."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

from ..completion import NAME_ROOM
from ..sockaddr import Way, unpack, way_of

# What Python's socket module raises for an address that is not of the socket's family.
NO_ADDRESS: Final = (TypeError, ValueError, OverflowError)


def address_of(packed: bytes) -> tuple[int, Any]:
    """(family, address as Python's socket module has it); the address is () where it is none."""
    if not 2 <= len(packed) <= NAME_ROOM:
        return socket.AF_INET, ()
    try:
        return unpack(packed)
    except (ValueError, struct.error):
        return socket.AF_INET, ()


def way_to(packed: bytes) -> Way:
    """As `way_of`; the address is () where it is none."""
    if not 2 <= len(packed) <= NAME_ROOM:
        return (), ()
    try:
        return way_of(packed)
    except (ValueError, struct.error):
        return (), ()
