"""Waking another reactor's ring by a message from our own: what becomes of one that is lost."""

from __future__ import annotations

from contract_tools import rig
from ringnet.completion import REFUSED


def test_a_wake_that_does_not_arrive_is_said() -> None:
    with rig("io_uring") as made, rig("io_uring") as other:
        other.backend._ring_fd = 0  # type: ignore[attr-defined]  # no ring
        made.backend.wake_other(other.backend)
        made.pump(lambda: made.has(0, REFUSED))
