"""Waking another reactor's ring by a message from our own: what becomes of one that is lost."""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec
from typing import Literal

import pytest
from contract_tools import rig
from ringnet.completion import REFUSED


def test_a_wake_that_does_not_arrive_is_said() -> None:
    with rig("io_uring") as made, rig("io_uring") as other:
        other.backend._ring_fd = 0  # type: ignore[attr-defined]  # no ring
        made.backend.wake_other(other.backend)
        made.pump(lambda: made.has(0, REFUSED))


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_wake_adds_one_on_machines_of_either_order(
    monkeypatch: pytest.MonkeyPatch, order: Literal["little", "big"]
) -> None:
    """eventfd(2) takes 8 bytes as the machine has its integers. Of the other order, 2 to the 56th
    is added: with 255 wakes that nobody has looked at, the next would wait."""
    spec = find_spec("ringnet.uring.backend")
    assert spec is not None
    assert spec.loader is not None
    copy = module_from_spec(spec)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "byteorder", order)
        spec.loader.exec_module(copy)
    assert int.from_bytes(copy._ONE, order) == 1
