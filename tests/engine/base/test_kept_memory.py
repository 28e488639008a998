"""`kept_memory`: what a turn frees is there for the next, without a page fault for each page."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import ringnet
from engine_tools import USES_MALLOC
from ringnet.engine.base.memory import keep_freed

PROGRAM = """
import resource, sys, threading
from ringnet.engine.base.memory import keep_freed

def turns():
    for _ in range(100):
        [bytes(65_536) for _ in range(40)]

said = keep_freed(int(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
thread = threading.Thread(target=turns)
thread.start()
thread.join()
print(int(said), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or not os.confstr("CS_GNU_LIBC_VERSION"),
    reason="mallopt(3) of glibc",
)


def faults(kept: int, **environment: str) -> tuple[bool, int]:
    """Whether the C library was told, and the page faults of a hundred turns in a new process."""
    command = [sys.executable, "-c", PROGRAM, str(kept)]
    environment = {"PATH": os.environ["PATH"], **environment}
    said, count = subprocess.check_output(command, env=environment, text=True).split()
    return said == "1", int(count)


@USES_MALLOC
def test_pages_are_kept_from_turn_to_turn() -> None:
    without, many = faults(0)
    told, few = faults(16 << 20)
    assert (without, told) == (False, True)
    assert few < 5_000
    assert few < many / 4


@USES_MALLOC
def test_settings_of_the_environment_come_first() -> None:
    told, many = faults(16 << 20, MALLOC_TRIM_THRESHOLD_="131072")
    assert not told
    assert many > 5_000


def test_the_engine_tells_it(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setattr("ringnet.engine.server.engine.keep_freed", told.append)
    ringnet.Engine(ringnet.EventHandler(), "tcp://127.0.0.1:0", kept_memory=1234).start().stop()
    assert told == [1234]


def test_nothing_is_nothing() -> None:
    assert not keep_freed(0)
