"""The time limits that can be set on a connection; what enforces them is in `deadlines.py`."""

from __future__ import annotations

from threading import get_ident

from ..base.checks import check_seconds
from .deadlines import Deadlines
from .reading import Reading


class TimeLimits(Reading):
    """The part of a connection that sets its limits; on its reactor's thread."""

    __slots__ = ()

    def set_read_timeout(self, seconds: float | None) -> None:
        """Close with TimeoutError when no byte arrived for so long. None or 0: no limit.

        It does not run while reading is paused or held by a bound, nor once the peer has ended its
        side. The time begins now. Raises ValueError and TypeError. gnet: SetReadDeadline (not
        implemented there).
        """
        self._limits().set_read(_checked(seconds))

    def set_write_timeout(self, seconds: float | None) -> None:
        """Close with TimeoutError when bytes wait and the kernel took none for so long.

        gnet: SetWriteDeadline (not implemented there).
        """
        self._limits().set_write(_checked(seconds))

    def set_idle_timeout(self, seconds: float | None) -> None:
        """Close with TimeoutError when nothing arrived and nothing was sent for so long.

        It does not run while reading is paused or held by a bound.
        """
        self._limits().set_idle(_checked(seconds))

    def set_deadline(self, seconds: float | None) -> None:
        """Close with TimeoutError so many seconds from now, whatever happens; None: never.

        For what must be over by then, such as a request that comes a byte at a time. gnet:
        SetDeadline (not implemented there).
        """
        self._limits().set_deadline(_checked(seconds))

    def _limits(self) -> Deadlines:
        if self._owner != get_ident():
            raise self._misuse()
        if self._deadlines is None:
            self._deadlines = Deadlines(self)
        return self._deadlines


def _checked(seconds: float | None) -> float:
    """Raise unless it is a time limit."""
    if seconds is None:
        return 0.0
    return check_seconds("a time limit", seconds)
