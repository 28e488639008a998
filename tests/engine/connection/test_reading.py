"""Reading."""

from __future__ import annotations

import io
from queue import Queue
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    WAIT,
    Recorder,
    dial,
    served,
)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_way_of_reading(backend: str) -> None:
    found: Queue[list[Any]] = Queue()

    class Reads(Recorder):
        def on_traffic(self, conn: ringnet.Connection) -> None:
            if conn.inbound_buffered < 40:
                return
            room = bytearray(3)
            file = io.BytesIO()
            seen = [
                conn.next(2),
                conn.peek(3),
                conn.discard(1),
                conn.read(2),
                (conn.readinto(room), bytes(room)),
                conn.readinto(memoryview(bytearray(0))),
                conn.next(0),
                conn.inbound_buffered,
            ]
            for call in (conn.next, conn.peek, conn.discard):
                with pytest.raises(ringnet.ShortBuffer):
                    call(33)
                with pytest.raises(ValueError, match="0 or more"):
                    call(-2)
            seen += [conn.inbound_buffered, conn.write_to(file), file.getvalue(), conn.read(5)]
            seen += [conn.next(), conn.inbound_buffered]
            found.put(seen)

    data = bytes(range(40))
    with served(backend, Reads()) as engine, dial(engine) as client:
        for chunks in ([40], [1] * 40, [13, 27]):  # in one piece, and gathered from leftovers
            rest = data
            for size in chunks:
                client.sendall(rest[:size])
                rest = rest[size:]
            assert found.get(timeout=WAIT) == [
                data[:2],
                data[2:5],
                1,
                data[3:5],
                (3, data[5:8]),
                0,
                b"",
                32,
                32,
                32,
                data[8:],
                b"",
                b"",
                0,
            ]
