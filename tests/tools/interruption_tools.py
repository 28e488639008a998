"""Calls that interrupt others at any line, as handlers of signals and `__del__` do."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import ringnet
from engine_tools import WAIT


class Interruption:
    """Makes a call at the n-th line of some files, as a handler of a signal would."""

    def __init__(self, files: set[str], line: int, call: Callable[[], object]) -> None:
        self.files = files
        self.left = line
        self.call = call
        self.outcome: Any = None

    def trace(self, frame: FrameType, event: str, argument: object) -> object:
        if frame.f_code.co_filename not in self.files:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                try:
                    self.outcome = self.call()
                except ringnet.RingnetError as error:
                    self.outcome = error
        return self.trace

    def during(self, call: Callable[[], object]) -> object:
        sys.settrace(self.trace)
        try:
            return call()
        except ringnet.RingnetError as error:
            return error
        finally:
            sys.settrace(None)


def bounded(call: Callable[[], None]) -> None:
    """On a thread of its own: what waits for ever fails."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive(), "it waits for itself"
    if failures:
        raise failures[0]


def at_each_line(trial: Callable[[int], bool], most: int = 400, step: int = 1) -> None:
    """Until there are no more lines."""
    for line in range(1, most, step):
        if not trial(line):
            assert line > 3
            return
    raise AssertionError("there are more lines than that")
