"""Buffers count bytes, also of memory whose items are larger."""

from __future__ import annotations

import array
from typing import Any

import pytest
import ringnet

INTS = array.array("q", range(100))


@pytest.mark.parametrize("kind", [ringnet.RingBuffer, ringnet.LinkedBuffer, ringnet.MixedBuffer])
def test_memory_of_larger_items(kind: Any) -> None:
    buffer = kind()
    assert buffer.write(memoryview(INTS)) == 800
    assert buffer.write(memoryview(INTS)[::2]) == 400
    assert len(buffer) == 1200
    assert buffer.next(800) == INTS.tobytes()
    assert buffer.next() == INTS[::2].tobytes()
    assert len(buffer) == 0
    limited = kind(limit=799)
    with pytest.raises(ringnet.BufferLimitExceeded):
        limited.write(memoryview(INTS))
    assert len(limited) == 0
    for wrong in (5, "text", None, [1, 2]):
        with pytest.raises(TypeError):
            buffer.write(wrong)
    assert len(buffer) == 0
    target = array.array("q", bytes(800))
    buffer.write(memoryview(INTS))
    assert buffer.readinto(memoryview(target)) == 800
    assert target == INTS


def test_at_the_front() -> None:
    buffer = ringnet.LinkedBuffer()
    buffer.write(b"after")
    assert buffer.write_front(memoryview(INTS)) == 800
    assert len(buffer) == 805
    assert buffer.next() == INTS.tobytes() + b"after"
    with pytest.raises(TypeError):
        buffer.write_front(5)  # type: ignore[arg-type]
