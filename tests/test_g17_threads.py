"""G17: a connection belongs to one thread, so its data path needs no lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import ringnet
from engine_tools import (
    BACKENDS,
    Recorder,
    dial,
    receive,
    served,
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.next(),
        lambda c: c.peek(),
        lambda c: c.discard(),
        lambda c: c.write(b"x"),
        lambda c: c.writev([b"x"]),
        lambda c: c.flush(),
        lambda c: c.dup(),
        lambda c: c.close_now(),
        lambda c: c.reset(),
        lambda c: c.set_no_delay(True),
    ],
)
def test_a_wrong_thread_is_told_so(backend: str, call: Callable[[Any], object]) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as client:
        conn = handler.expect("open")
        with pytest.raises(ringnet.WrongThread, match="async_write, wake or close"):
            call(conn)
        client.sendall(b"fine")
        assert receive(client, 4) == b"fine"
