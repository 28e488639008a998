"""Checks of common arguments: a mistake raises at the call, with a message that helps."""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import inf
from typing import TypeVar

from .errors import shown

F = TypeVar("F", bound=Callable[..., object])


def check_call(call: F) -> F:
    """Raise TypeError unless it can be called: later, the error would reach nobody."""
    if not callable(call):
        raise TypeError(f"call must be a function or another callable, not {shown(call)}")
    return call


def check_patience(timeout: float | None) -> None:
    """Raise TypeError or ValueError unless it is a time to wait; None: as long as it takes."""
    if timeout is not None:
        check_seconds("timeout", timeout, inf)


def check_seconds(name: str, value: float, longest: float = sys.float_info.max) -> float:
    """Raise TypeError or ValueError unless it is a time to wait, in seconds."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{name} must be a number of seconds, not {shown(value)}")
    try:
        seconds = float(value)
    except OverflowError:  # an int beyond the range of floats
        seconds = -1.0
    if not 0 <= seconds <= longest:
        must = "0 seconds or more" if longest == inf else "a finite number of seconds, 0 or more"
        raise ValueError(f"{name} must be {must}, not {shown(value)}")
    return seconds


def check_callback(callback: Callable[..., object] | None) -> None:
    """Raise TypeError unless it can be called: later, the error would reach nobody."""
    if callback is not None and not callable(callback):
        raise TypeError(f"callback must be callable with (conn, error), not {shown(callback)}")
