"""Accepting: the newcomers of one ready listener."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ..completion import ACCEPTED, STALLED
from .sockets import newcomer_looker

if TYPE_CHECKING:
    from .operations import Operations
    from .slot import Slot

# A flood of newcomers may not keep the connections that are there from being served.
_MOST: Final = 64
# EPERM is not the newcomer's: a filter of system calls, or a security module, refuses each time.
_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM)
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
        "ETIMEDOUT",
        "EINTR",
    )
    if hasattr(errno, name)
)


def accept_all(backend: Operations, slot: Slot) -> None:
    """Accept what waits, up to a bound; the poller reports the listener again for the rest.

    Another process that has the listener may have made it blocking, and may take away a newcomer
    that was reported; so it is made non-blocking before, and asked again for each newcomer but the
    first.
    """
    try:
        slot.sock.setblocking(False)
    except OSError as error:
        backend._break(slot, error.errno or 0)
        return
    waits = newcomer_looker(slot.fd)
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
        else:
            newcomer.setblocking(False)
            backend._emit((slot.handle, ACCEPTED, newcomer.fileno(), 0))
            newcomer.detach()
        if not waits():
            return


def _pass_over(backend: Operations, slot: Slot, number: int) -> bool:
    """Whether the error was the newcomer's; else the listener rests, or is broken."""
    if number in _NEWCOMERS_FAULT:
        return True
    if number in _EXHAUSTED:
        stall(backend, slot, number)
    else:
        backend._break(slot, number)
    return False


def stall(backend: Operations, slot: Slot, number: int) -> None:
    """Rest until `resume`: the system has nothing for newcomers."""
    slot.paused = True
    backend._watch(slot)
    backend._emit((slot.handle, STALLED, -number, 0))
