"""Seconds of any size and type: taken, or refused at the call, and never on the loop."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import ringnet
from engine_tools import BACKENDS, Recorder, dial, on_loop

WRONG = [Decimal(5), Fraction(1, 2), "5", True, 10**400, 10**5000, -1, math.nan, -math.inf]


@pytest.mark.parametrize("backend", BACKENDS)
def test_seconds_that_are_none(backend: str) -> None:
    handler = Recorder()
    with (
        ringnet.Engine(handler, "tcp://127.0.0.1:0", backend=backend) as engine,
        dial(engine),
    ):
        conn = handler.expect("open")
        loop = engine.reactors[0]
        for value in WRONG:
            wrong: Any = value
            for call in (
                lambda value=wrong: loop.schedule(value, bool),
                lambda value=wrong: loop.repeat(value, bool),
                lambda value=wrong: on_loop(loop, lambda: conn.set_deadline(value)),
                lambda value=wrong: on_loop(loop, lambda: conn.set_idle_timeout(value)),
                lambda value=wrong: engine.stop(value),
                lambda value=wrong: engine.register("tcp://127.0.0.1:1", value),
            ):
                with pytest.raises((TypeError, ValueError)) as caught:
                    call()
                assert caught.type in (TypeError, ValueError)
                assert len(str(caught.value)) < 1000
        engine.validate()
