"""Checks of arguments that several calls take: a mistake raises at once, and says what to do."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf
from typing import TypeVar

from .errors import shown

F = TypeVar("F", bound=Callable[..., object])


def check_call(call: F) -> F:
    """Raise TypeError for what could not be called later, where nobody would hear of it."""
    if not callable(call):
        raise TypeError(f"a call is a function or another callable, not {shown(call)}")
    return call


def check_patience(timeout: float | None) -> None:
    """Raise TypeError or ValueError unless it is how long to wait; None: as long as it takes."""
    if timeout is not None:
        check_seconds("timeout", timeout, inf)


def check_seconds(name: str, value: float, longest: float = sys.float_info.max) -> float:
    """Raise TypeError or ValueError unless it is a time to wait, in seconds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} is a number of seconds, not {shown(value)}")
    try:
        seconds = float(value)
    except OverflowError:  # an int beyond all floats
        seconds = -1.0
    if not 0 <= seconds <= longest:
        raise ValueError(f"{name} is 0 seconds or more, not {shown(value)}")
    return seconds


def check_callback(callback: Callable[..., object] | None) -> None:
    """Raise TypeError for what could not be called later, where nobody would hear of it."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback is called with (conn, error), so not {shown(callback)}")
