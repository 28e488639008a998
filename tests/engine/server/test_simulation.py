"""The engine on a simulated network with a virtual clock: thousands of seeds, each replayable."""

from __future__ import annotations

import time

import pytest
import simulation

SEEDS = 3_000
GROUPS = 10


@pytest.mark.parametrize("group", range(GROUPS))
def test_seeds_that_are_always_the_same(group: int) -> None:
    for seed in range(group * SEEDS // GROUPS, (group + 1) * SEEDS // GROUPS):
        simulation.run(seed)


def test_seeds_that_nobody_has_tried() -> None:
    """For five seconds; a failure says which seed it was."""
    seed = time.time_ns()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        simulation.run(seed)
        seed += 1


def test_a_seed_is_always_the_same_run() -> None:
    for seed in range(50):
        assert simulation.run(seed) == simulation.run(seed)


def test_the_simulation_notices_a_lost_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be worth nothing."""
    from ringnet.engine.buffers.linked_buffer import LinkedBuffer

    take = LinkedBuffer.take

    def lose(self: LinkedBuffer, goal: int) -> bytes:
        return take(self, goal)[1:]

    monkeypatch.setattr(LinkedBuffer, "take", lose)
    with pytest.raises(AssertionError, match=r"arrived") as caught:
        for seed in range(300):
            simulation.run(seed)
    assert "replay: python tests/tools/simulation.py" in "".join(caught.value.__notes__)


def test_the_simulation_notices_a_second_end(monkeypatch: pytest.MonkeyPatch) -> None:
    from ringnet.engine.reactor.callbacks import Callbacks

    once = Callbacks.on_close

    def twice(self: Callbacks, conn: object) -> None:
        once(self, conn)  # type: ignore[arg-type]
        once(self, conn)  # type: ignore[arg-type]

    monkeypatch.setattr(Callbacks, "on_close", twice)
    with pytest.raises(AssertionError):
        simulation.run(1)
