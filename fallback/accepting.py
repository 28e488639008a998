"""Accepting: the newcomers of one ready listener."""

from __future__ import annotations

import errno
from typing import Final

from ..completion import ACCEPTED
from .phases import break_slot, stall
from .slot import Slot
from .sockets import newcomer_check
from .state import State

# A flood of newcomers may not keep the connections that are there from being served.
_MOST: Final = 64
# EPERM is not the newcomer's: a seccomp filter or a security module refuses each time.
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


def accept_all(state: State, slot: Slot) -> None:
    """Accept what waits, up to a bound; the poller reports the listener again for the rest.

    Another process that has the listener may have made it blocking, and may take away a newcomer
    that was reported; so it is made non-blocking before, and asked again for each newcomer but the
    first.
    """
    try:
        slot.sock.setblocking(False)
    except OSError as error:
        break_slot(state, slot, error.errno or 0)
        return
    waits = newcomer_check(slot.fd)
    for _ in range(_MOST):
        if not state.has_room():
            return
        try:
            newcomer, _address = slot.sock.accept()
        except BlockingIOError:
            return
        except OSError as error:
            if not _pass_over(state, slot, error.errno or 0):
                return
        else:
            newcomer.setblocking(False)
            state.events.emit((slot.handle, ACCEPTED, newcomer.fileno(), 0))
            newcomer.detach()
        if not waits():
            return


def _pass_over(state: State, slot: Slot, number: int) -> bool:
    """Whether the error was the newcomer's; else the listener rests, or is broken."""
    if number in _NEWCOMERS_FAULT:
        return True
    if number in _EXHAUSTED:
        stall(state, slot, number)
    else:
        break_slot(state, slot, number)
    return False
