"""Engines that go wrong in ways that a test chooses."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable
from typing import Any

import ringnet


class Breakable(ringnet.Engine):
    """Its backends raise `failure` from their next turns, as long as there is one."""

    failure: BaseException | None = None

    def make_backend(self) -> Any:
        backend: Any = super().make_backend()
        turn = backend.turn

        def breakable(timeout: float | None) -> Iterable[Any]:
            if self.failure is not None:
                raise self.failure
            return turn(timeout)  # type: ignore[no-any-return]

        backend.turn = breakable
        return backend


def break_backend(backend: Any) -> None:
    """Have its next turn fail: the core with a command that is none, a fallback with its poller.

    (Taking the ring's descriptor away is not enough: the registered ring goes on.)
    """
    if backend.name == "io_uring":
        backend._commands.append(struct.pack("3q", 99, 0, 0))
        return

    def fails(*_: object) -> None:
        raise OSError(errno.EBADF, "the poller has failed")

    backend.state.poller.wait = fails
