"""A substitute for kqueue on top of epoll. It is no kqueue and proves nothing about a BSD kernel.

It speaks the part of `select.kqueue` and `select.kevent` that `KqueuePoller` uses, with the same
names, so that the poller's own code runs on Linux. Known differences: `fflags` of an event in
error is EIO, because asking epoll's socket for its error would take the error away; and an event
in error is given to each filter that was added, as epoll gives it to any mask;
KQ_EV_CLEAR holds for both filters of a descriptor.
"""

from __future__ import annotations

import errno
import select
from collections.abc import Iterable

KQ_FILTER_READ = -1
KQ_FILTER_WRITE = -2
KQ_EV_ADD = 0x0001
KQ_EV_DELETE = 0x0002
KQ_EV_CLEAR = 0x0020
KQ_EV_ERROR = 0x4000
KQ_EV_EOF = 0x8000

_BITS = {KQ_FILTER_READ: select.EPOLLIN | select.EPOLLRDHUP, KQ_FILTER_WRITE: select.EPOLLOUT}
_CAUSES = {
    KQ_FILTER_READ: select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR,
    KQ_FILTER_WRITE: select.EPOLLOUT | select.EPOLLHUP | select.EPOLLERR,
}
_ENDS = {
    KQ_FILTER_READ: select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR,
    KQ_FILTER_WRITE: select.EPOLLHUP | select.EPOLLERR,
}


def _joined(filters: dict[int, int]) -> int:
    bits = 0
    for some in filters.values():
        bits |= some
    return bits


class kevent:  # noqa: N801 - the name in select
    """A change that is wanted, or an event that happened."""

    def __init__(self, ident: int, filter: int = KQ_FILTER_READ, flags: int = KQ_EV_ADD) -> None:
        self.ident = ident
        self.filter = filter
        self.flags = flags
        self.fflags = 0
        self.data = 0


def install() -> None:
    """Put it into `select` where the system has none, for the engine's tests in this process."""
    if not hasattr(select, "kqueue"):
        for name in ("kqueue", "kevent", *(n for n in globals() if n.startswith("KQ_"))):
            setattr(select, name, globals()[name])


class kqueue:  # noqa: N801 - the name in select
    """A kernel event queue, of which an epoll does the work."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._added: dict[int, dict[int, int]] = {}  # descriptor: filter: bits of epoll
        self._left: list[kevent] = []  # the second event of a descriptor that had no room

    def control(
        self, changes: Iterable[kevent] | None, most: int, timeout: float | None = None
    ) -> list[kevent]:
        """Apply the changes, then wait for at most `most` events."""
        for change in changes or ():
            self._apply(change)
        if most == 0:
            return []
        if timeout is not None and timeout < 0:
            raise ValueError("timeout must be positive or None")
        # A descriptor may give two events.
        found = self._epoll.poll(0 if self._left else timeout, (most + 1) // 2)
        events = self._left + [event for fd, mask in found for event in self._translate(fd, mask)]
        self._left = events[most:]
        return events[:most]

    def _apply(self, change: kevent) -> None:
        filters = self._added.get(change.ident, {})
        before = _joined(filters)
        if change.flags & KQ_EV_ADD:
            edge = select.EPOLLET if change.flags & KQ_EV_CLEAR else 0
            filters = filters | {change.filter: _BITS[change.filter] | edge}
        elif change.filter in filters:
            filters = {kind: bits for kind, bits in filters.items() if kind != change.filter}
            gone = (change.ident, change.filter)
            self._left = [event for event in self._left if (event.ident, event.filter) != gone]
        else:
            raise OSError(errno.ENOENT, "the filter was not added")
        after = _joined(filters)
        if not before:
            self._epoll.register(change.ident, after)
        elif after:
            self._epoll.modify(change.ident, after)
        else:
            self._epoll.unregister(change.ident)
        self._added[change.ident] = filters
        if not filters:
            del self._added[change.ident]

    def _translate(self, fd: int, mask: int) -> Iterable[kevent]:
        for kind in self._added[fd]:
            if mask & _CAUSES[kind]:
                event = kevent(fd, kind)
                if mask & _ENDS[kind]:
                    event.flags |= KQ_EV_EOF
                if mask & select.EPOLLERR:
                    event.fflags = errno.EIO
                yield event

    def fileno(self) -> int:
        return self._epoll.fileno()

    def close(self) -> None:
        self._epoll.close()
