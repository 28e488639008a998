"""A signal's handler that raises, as Ctrl-C's does, may interrupt a post at any line."""

from __future__ import annotations

import linecache
import sys
from types import FrameType
from typing import Any

import pytest
from engine_tools import BACKENDS, Recorder, on_loop, served
from ringnet.engine.reactor import mailbox

LINES = 40  # more than a post has


class Interrupt:
    """Raises KeyboardInterrupt at the line of that number in the mailbox, and in what it calls."""

    def __init__(self, line: int) -> None:
        self.left = line
        self.is_inside = False

    def __call__(self, frame: FrameType, event: str, _: Any) -> Any:
        self.is_inside |= frame.f_code.co_filename == mailbox.__file__
        if not self.is_inside:
            return None
        # A signal is handled after a call, never between the end of a block and its `__exit__`.
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        if event == "line" and not text.startswith("with "):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_loop_hears_of_later_calls(backend: str) -> None:
    with served(backend, Recorder()) as engine:
        (loop,) = engine.reactors
        interrupted = 0
        for line in range(1, LINES):
            interrupt = Interrupt(line)
            sys.settrace(interrupt)
            try:
                loop.execute(int)
            except KeyboardInterrupt:
                interrupted += 1
            finally:
                sys.settrace(None)
            assert on_loop(loop, lambda: 1) == 1, f"after line {line}"
        assert 5 < interrupted < LINES - 1, "all lines, and no more"
