"""The parts of the fallback's state, where there is no memory for a step of theirs."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from ringnet.completion import DATA, ERROR
from ringnet.fallback.events import Events
from ringnet.fallback.retries import Retries
from ringnet.fallback.slot import Role, Slot


class NoMemory:
    """Mixed into a list or a deque: the first append fails."""

    is_short = True

    def append(self, item: Any) -> None:
        if self.is_short:
            self.is_short = False
            raise MemoryError
        super().append(item)  # type: ignore[misc]


class ShortList(NoMemory, list[Any]):
    pass


class ShortDeque(NoMemory, deque[Any]):
    pass


def test_a_late_event_is_not_lost() -> None:
    events = Events(1)
    first, second = (1, DATA, 0, 1), (1, ERROR, -5, 0)
    events.emit(first)
    events.emit(second)
    assert (events.current, list(events.late)) == ([first], [second])
    events.current = ShortList()
    with pytest.raises(MemoryError):
        events.fill_up()
    events.fill_up()
    assert (events.current, list(events.late)) == ([second], [])


def test_what_is_to_be_tried_again_can_be_added_again() -> None:
    retries = Retries()
    retries.slots = ShortDeque()
    slot = Slot(1, 1, 1, Role.PACKETS)
    with pytest.raises(MemoryError):
        retries.add(slot)
    retries.add(slot)
    assert list(retries.slots) == [slot]
    retries.add(slot)
    assert len(retries.slots) == 1
