"""What is tried again after a while, because no poller reports when.

The law of this file: a slot stands here once, and nothing is tried more often than once each
RETRY_PERIOD.
"""

from __future__ import annotations

from collections import deque
from time import monotonic

from ..completion import RETRY_PERIOD, retried
from .slot import RETRIED, Slot


class Retries:
    """Slots, in the order in which they are tried."""

    __slots__ = ("_at", "slots")

    def __init__(self) -> None:
        self.slots: deque[Slot] = deque()
        self._at = 0.0

    def add(self, slot: Slot) -> None:
        """Try it again later."""
        if slot.marks & RETRIED:
            return
        if not self.slots:
            self._at = monotonic() + RETRY_PERIOD
        try:
            self.slots.append(slot)
        except MemoryError:
            retried(self.slots.append, slot)
        slot.marks |= RETRIED

    def take_due(self) -> int:
        """How many of them are due."""
        now = monotonic()
        if now < self._at:
            return 0
        self._at = now + RETRY_PERIOD
        return len(self.slots)

    def pop(self) -> Slot:
        slot = self.slots.popleft()
        slot.marks &= ~RETRIED
        return slot

    def timeout(self, timeout: float | None) -> float:
        """How long a turn may wait, of the time that it has."""
        left = max(0.0, self._at - monotonic())
        return left if timeout is None else min(left, timeout)
