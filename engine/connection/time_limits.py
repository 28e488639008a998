"""Setting time limits on a connection; they are enforced in `deadlines.py`."""

from __future__ import annotations

from threading import get_ident

from ..base.checks import check_seconds
from .deadlines import Deadlines
from .reading import Reading


class TimeLimits(Reading):
    """The methods of a connection that set time limits; on its reactor's thread."""

    __slots__ = ()

    def set_read_timeout(self, seconds: float | None) -> None:
        """Close with TimeoutError when no byte has arrived for this time. None or 0: no limit.

        The time starts now. It is suspended while reading is paused or held by a limit, and once
        the peer has ended its side. Raises ValueError and TypeError. gnet: SetReadDeadline (not
        implemented there).
        """
        self._limits().set_read(_checked(seconds))

    def set_write_timeout(self, seconds: float | None) -> None:
        """Close with TimeoutError when bytes wait and the kernel has taken none for this time.

        None or 0: no limit. It is not suspended while reading is paused. gnet: SetWriteDeadline
        (not implemented there).
        """
        self._limits().set_write(_checked(seconds))

    def set_idle_timeout(self, seconds: float | None) -> None:
        """Close with TimeoutError when nothing was received and nothing sent for this time.

        None or 0: no limit. It is suspended while reading is paused or held by a limit.
        """
        self._limits().set_idle(_checked(seconds))

    def set_deadline(self, seconds: float | None) -> None:
        """Close with TimeoutError this many seconds from now, whatever happens. None or 0: never.

        For things that must be over by then, such as a request that arrives one byte at a time.
        gnet: SetDeadline (not implemented there).
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
