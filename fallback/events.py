"""The events of a turn, and those that it has no room for.

The law of this file: events of one handle keep their order. What is late comes first in the next
turn, and after a close nothing else of the handle is reported.
"""

from __future__ import annotations

from collections import deque

from ..completion import DRAINED, Event, retried


class Events:
    """At most `most` in a turn."""

    __slots__ = ("_limit", "_overtakes", "_spared", "_spoken", "current", "late", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.current: list[Event] = []  # of this turn
        self.late: deque[Event] = deque()  # that the last turn had no room for
        self._limit = most  # less, while one place is spared for what the last turn put off
        self._overtakes = False  # what happens now may be reported before what is late
        self._spared = False  # whether there was such a place, in the last turn that had reason to
        self._spoken: set[int] = set()  # handles with an event that the caller has not seen

    def begin(self, current: list[Event], *, spares_a_place: bool) -> None:
        """Begin a turn, which reports what was late."""
        self.current = current
        self._spoken.clear()
        self._overtakes = False
        if spares_a_place:
            # In every other turn: handles with an event in each may not take all places.
            self._spared = not self._spared
            if self._spared:
                self._limit = self.most - 1
        if self.late:
            late, self.late = self.late, deque()
            for event in late:
                self.emit(event)

    def emit(self, event: Event) -> None:
        """Report it in this turn, or in the next where there is no room."""
        try:
            self._emit(event)
        except MemoryError:
            retried(self._emit, event)

    def _emit(self, event: Event) -> None:
        self._spoken.add(event[0])
        if len(self.current) >= self._limit or (self.late and not self._overtakes):
            self.late.append(event)
        else:
            self.current.append(event)

    def serve_put_off(self) -> None:
        """What was put off comes now, before what is late."""
        self._limit = self.most
        self._overtakes = True

    def put_off_served(self) -> None:
        """From here on what is late comes first again."""
        self._overtakes = False
        self.fill_up()

    def fill_up(self) -> None:
        """Fill the room that closes have made: events are late only where there is none."""
        while self.late and len(self.current) < self._limit:
            self.current.append(self.late[0])  # first: there may be no memory for it
            self.late.popleft()

    def is_late(self, event: Event) -> bool:
        """Whether this very event waits for room."""
        return bool(self.late) and event[0] in self._spoken and event in self.late

    def owes(self, handle: int) -> bool:
        """Whether something of it must come first. The order of DRAINED and bytes is free."""
        return any(event[0] == handle and event[1] != DRAINED for event in self.late)

    def withdraw(self, handle: int) -> None:
        """The handle was closed before the caller saw these events."""
        if handle in self._spoken:
            self.current[:] = [event for event in self.current if event[0] != handle]
            self.late = deque(event for event in self.late if event[0] != handle)
