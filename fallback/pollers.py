"""Pollers: epoll, kqueue and select, one small class each, with the same three methods.

The law of this file: interest is level-triggered and keyed by descriptor. A poller owns its kernel
handle and nothing else. The masks are those of poll(2), so that epoll's need no translation; any
other bit of a reported mask is an error or a hang-up, and the next attempt gets the error itself.
"""

from __future__ import annotations

import errno
import os
import select
import sys
from collections.abc import Iterable
from time import monotonic
from typing import Any, Final, Protocol

from ..completion import HUNG_UP

READ: Final = 1
WRITE: Final = 4
BOTH: Final = READ | WRITE
# EPOLLET, in the interest: report changes only. Alone: only what breaks the descriptor.
EDGE: Final = 1 << 31

# select(2) takes no descriptor from FD_SETSIZE on; some of them are not connections.
SELECT_CAPACITY: Final = 1_000
# It knows neither changes nor errors alone: a descriptor that is watched for what breaks it is
# reported this often, so that the backend asks.
_REPORTED_EVERY: Final = 0.5  # seconds
_PEER_ENDED: Final = getattr(select, "POLLRDHUP", 0)  # elsewhere POLLHUP may show it
# Windows reports a failed connect in the third set only; elsewhere that is urgent data.
_TELLS_FAILURES: Final = sys.platform == "win32"


class Poller(Protocol):
    """What the fallback backend needs of the system."""

    name: str
    capacity: int  # descriptors that can be watched at once
    has_edges: bool

    def change(self, fd: int, old: int, new: int) -> None:
        """Replace the interest in a descriptor. Raises OSError where it cannot be watched."""

    def wait(self, timeout: float | None, most: int) -> Iterable[tuple[int, int]]:
        """(descriptor, mask) of ready ones; waits `timeout` seconds at most.

        Of at most `most`, if the rest comes first the next time; else of all.
        """

    def close(self) -> None:
        """Give the kernel handle back."""


def pending(fd: int) -> int:
    """READ, WRITE and HUNG_UP, as they hold for a descriptor now; asking changes nothing."""
    if not hasattr(select, "poll"):
        reads, writes, fails = select.select([fd], [fd], [fd], 0)
        return (READ if reads else 0) | (WRITE if writes or fails else 0)
    asked = select.poll()
    asked.register(fd, select.POLLIN | select.POLLOUT | _PEER_ENDED)
    found = 0
    for _, mask in asked.poll(0):
        found |= HUNG_UP if mask & (_PEER_ENDED | select.POLLHUP) else 0
        found |= READ if mask & (select.POLLIN | select.POLLHUP) else 0
        found |= WRITE if mask & (select.POLLOUT | select.POLLERR | select.POLLHUP) else 0
    return found


class EpollPoller:
    """epoll(7). A closed descriptor leaves it only with its last duplicate, so it is taken out."""

    name = "epoll"
    capacity = sys.maxsize
    has_edges = True

    def __init__(self) -> None:
        self._epoll = select.epoll()

    def change(self, fd: int, old: int, new: int) -> None:
        if not new:
            self._epoll.unregister(fd)
        elif old:
            self._epoll.modify(fd, new)
        else:
            self._epoll.register(fd, new)

    def wait(self, timeout: float | None, most: int) -> Iterable[tuple[int, int]]:
        return self._epoll.poll(timeout, most)

    def close(self) -> None:
        self._epoll.close()


class KqueuePoller:
    """kqueue(2), where reading and writing are two filters. `system` has select's interface."""

    name = "kqueue"
    capacity = sys.maxsize
    has_edges = True

    def __init__(self, system: Any = select) -> None:
        self._system = system
        self._queue = system.kqueue()
        self._masks = {system.KQ_FILTER_READ: READ, system.KQ_FILTER_WRITE: WRITE}

    def change(self, fd: int, old: int, new: int) -> None:
        system = self._system
        changes = []
        how = system.KQ_EV_ADD | (system.KQ_EV_CLEAR if new & EDGE else 0)
        old, new = (READ | mask if mask == EDGE else mask for mask in (old, new))
        differs = old ^ new
        for bit, name in ((READ, system.KQ_FILTER_READ), (WRITE, system.KQ_FILTER_WRITE)):
            changed = differs & (bit | EDGE)  # what is there keeps its kind: it has to be taken out
            if old & bit and changed:
                changes.append(system.kevent(fd, name, system.KQ_EV_DELETE))
            if new & bit and changed:
                changes.append(system.kevent(fd, name, how))
        self._queue.control(changes, 0, 0)

    def wait(self, timeout: float | None, most: int) -> Iterable[tuple[int, int]]:
        ready = self._queue.control(None, most, timeout)
        return [(event.ident, self._masks[event.filter]) for event in ready]

    def close(self) -> None:
        self._queue.close()


class SelectPoller:
    """select(2): everywhere, for few descriptors. It looks at each of them in each call."""

    name = "select"
    capacity = SELECT_CAPACITY
    has_edges = False

    def __init__(self) -> None:
        self._readers: set[int] = set()
        self._writers: set[int] = set()
        self._quiet: set[int] = set()  # watched only for what breaks them
        self._next_report = 0.0  # when they are reported

    def change(self, fd: int, old: int, new: int) -> None:
        if new:
            self._check(fd)
        for bit, members in ((READ, self._readers), (WRITE, self._writers), (EDGE, self._quiet)):
            if new & bit:
                members.add(fd)
            else:
                members.discard(fd)

    @staticmethod
    def _check(fd: int) -> None:
        try:
            select.select((), (), (fd,), 0)
        except ValueError as error:
            text = f"select cannot watch descriptor {fd}: take epoll or kqueue for so many"
            raise OSError(errno.EMFILE, text) from error

    def wait(self, timeout: float | None, most: int) -> Iterable[tuple[int, int]]:
        readers, writers = self._readers, self._writers
        failing = writers if _TELLS_FAILURES else ()
        if self._quiet:
            left = max(0.0, self._next_report - monotonic())
            timeout = left if timeout is None else min(timeout, left)
        try:
            readable, writable, failed = select.select(readers, writers, failing, timeout)
        except OSError:
            found = self._closed_elsewhere()
            if not found:
                raise
            return found
        ready = dict.fromkeys(readable, READ)
        for fd in (*writable, *failed):
            ready[fd] = ready.get(fd, 0) | WRITE
        if self._quiet:
            self._report_quiet(ready)
        return ready.items()  # all: a set has its order, and the last would always be left out

    def _report_quiet(self, ready: dict[int, int]) -> None:
        now = monotonic()
        if now >= self._next_report:
            self._next_report = now + _REPORTED_EVERY
            for fd in self._quiet:
                ready[fd] = READ

    def _closed_elsewhere(self) -> list[tuple[int, int]]:
        """Descriptors that were closed elsewhere: the next attempt gets the error."""
        found = []
        for fd in self._readers | self._writers:
            try:
                os.fstat(fd)
            except OSError:
                found.append((fd, BOTH))
        return found

    def close(self) -> None:
        self._readers.clear()
        self._writers.clear()


POLLERS: Final[dict[str, type[Poller]]] = {
    "epoll": EpollPoller,
    "kqueue": KqueuePoller,
    "select": SelectPoller,
}


def why_not(name: str) -> str | None:
    """Why this system lacks a poller, or None where it has it."""
    needs = {"epoll": "epoll", "kqueue": "kqueue", "select": "select"}[name]
    if hasattr(select, needs):
        return None
    homes = {"epoll": "Linux", "kqueue": "BSD and macOS"}
    return f"{name} is a part of {homes.get(name, 'other systems')}"


def available() -> list[str]:
    """The pollers that this system has, from the best."""
    return [name for name in POLLERS if why_not(name) is None]
