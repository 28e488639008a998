"""The other ends of a simulation, and its clock: see simulated_backend.py."""

from __future__ import annotations

import random
from collections import deque


class Clock:
    """Seconds that pass when a simulation says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Peer:
    """The other end of a connection: what it does when, and what it got."""

    def __init__(self, chance: random.Random, clock: Clock) -> None:
        self.clock = clock
        self.chance = chance
        self.window = chance.choice([200, 5_000, 200_000])  # bytes it and the kernels hold
        self.pace = chance.choice([200, 3_000, 1 << 20])  # bytes it reads at once
        self.sent = b""  # all that it has said so far
        self.got = bytearray()  # all that it has read
        self.held = bytearray()  # on the way to it
        self.is_reset = False
        self.told = float("inf")  # when the engine was told that the stream is broken
        self.has_ended = False
        self.saw_end = False
        self.said: deque[bytes] = deque()  # on the way to us
        self.steps = self._plan()

    def _plan(self) -> deque[tuple[float, str, bytes]]:
        chance, time = self.chance, self.clock.now
        steps = []
        for _ in range(chance.randrange(8)):
            time += chance.choice([0.0, 0.001, 0.5, 3.0])
            steps.append((time, "say", chance.randbytes(chance.choice([1, 10, 700, 9_000]))))
        time += chance.choice([0.0, 0.01, 2.0])
        steps.append((time, chance.choice(["end", "end", "end", "reset", "close"]), b""))
        return deque(steps)

    def act(self) -> None:
        """Do what its time has come for."""
        while self.steps and self.steps[0][0] <= self.clock.now and not self.is_reset:
            _, step, data = self.steps.popleft()
            if step == "say":
                self.said.append(data)
                self.sent += data
            elif step == "end":
                self.has_ended = True
            else:
                self.is_reset = True  # of a close with bytes unread as well
        if not self.held:
            return
        taken = min(len(self.held), int(self.chance.random() * (self.pace + 1)))
        self.got += self.held[:taken]
        del self.held[:taken]

    @property
    def next_step(self) -> float:
        return self.steps[0][0] if self.steps else float("inf")
