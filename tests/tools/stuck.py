"""Whether a loop is stuck: a call that does not return, or turns that bring nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from types import FrameType

from contract_tools import PATIENCE, Rig

MOST_TURNS = 30  # of a second in which nothing happens


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Fail if it takes longer, also inside a system call. On the main thread."""

    def too_long(number: int, frame: FrameType | None) -> None:
        raise AssertionError(f"blocked for {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds * PATIENCE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def turn_for(made: Rig, seconds: float) -> None:
    """Turn for so long, however little each brings: a loop that is stuck never settles."""
    end = monotonic() + seconds
    while (left := end - monotonic()) > 0:
        made.turn(left)


def idle_turns(made: Rig, seconds: float = 0.5) -> int:
    """How many turns a second return though nothing happens, each of which would wait for long."""
    turns, start = 0, monotonic()
    while (left := start + seconds - monotonic()) > 0 and turns < 10_000:
        made.turn(left)
        turns += 1
    return round(turns / seconds)
