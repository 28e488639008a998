"""Accepting: the newcomers of one ready listener."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ..completion import ACCEPTED, STALLED

if TYPE_CHECKING:
    from .operations import Operations
    from .slot import Slot

# A flood of newcomers may not keep the connections that are there from being served.
_MOST: Final = 64
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
# accept(2): errors of the new socket that are pending already. Others are the listener's own.
_NEWCOMERS_FAULT: Final = frozenset(
    getattr(errno, name)
    for name in (
        "ECONNABORTED",
        "EPROTO",
        "ENETDOWN",
        "ENOPROTOOPT",
        "EHOSTDOWN",
        "ENONET",
        "EHOSTUNREACH",
        "ENETUNREACH",
        "EPERM",
        "ETIMEDOUT",
        "EINTR",
    )
    if hasattr(errno, name)
)


def accept_all(backend: Operations, slot: Slot) -> None:
    """Accept what waits, up to a bound; the poller reports the listener again for the rest."""
    for _ in range(_MOST):
        if not backend._has_room():
            return
        try:
            newcomer, _address = slot.sock.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if not _pass_over(backend, slot, error.errno or 0):
                return
            continue
        newcomer.setblocking(False)
        backend._emit((slot.handle, ACCEPTED, newcomer.detach(), 0))


def _pass_over(backend: Operations, slot: Slot, number: int) -> bool:
    """Whether the error was the newcomer's; else the listener rests, or is broken."""
    if number in _NEWCOMERS_FAULT:
        return True
    if number in _EXHAUSTED:
        slot.paused = True
        backend._watch(slot)
        backend._emit((slot.handle, STALLED, -number, 0))
    else:
        backend._break(slot, number)
    return False
