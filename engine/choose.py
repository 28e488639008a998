"""The chooser: which backend an engine gets, and why. The one module that imports a backend.

It imports lazily: with a fallback forced, not one system call of io_uring is made.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING

from ..completion import Bounds
from .backend import Backend
from .errors import BackendUnavailable
from .options import BACKENDS, check_choice

if TYPE_CHECKING:
    from ..uring.probe import Probe

VARIABLE = "RINGNET_BACKEND"
FALLBACKS = ("epoll", "kqueue", "select")  # from the best
# Seconds until the kernel no longer charges for rings that were closed.
_CHARGED_FOR = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a backend can run here. `remedy` says what would help where it cannot."""

    name: str
    available: bool
    reason: str
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The backend an engine uses: `make` is called on each reactor's thread."""

    name: str
    reason: str
    make: Callable[[Bounds], Backend]
    passed_over: Verdict | None = None  # the better backend that cannot run here
    is_forced: bool = True


def judge(name: str, bounds: Bounds | None = None, reactors: int = 1) -> Verdict:
    """Whether the backend of that name can run here, found by trying what reactors will use."""
    if name == "io_uring":
        return _judge_uring(bounds or Bounds(), reactors)
    return _judge_fallback(name)


def choose(wanted: str, bounds: Bounds | None = None, reactors: int = 1) -> Choice:
    """The backend for the option's value; `RINGNET_BACKEND` takes the place of `auto`.

    For so many reactors, which all get the same.

    Raises BackendUnavailable, with the reason and the remedy, where a named one cannot run, and
    OptionError for a variable that names none.
    """
    forced_by = f"backend={wanted!r}"
    if wanted == "auto" and os.environ.get(VARIABLE):
        wanted = check_choice(VARIABLE, os.environ[VARIABLE], BACKENDS)
        forced_by = f"{VARIABLE}={wanted}"
    if wanted == "auto":
        return _choose_best(bounds, reactors)
    verdict = judge(wanted, bounds, reactors)
    if not verdict.available:
        remedy = f"; {verdict.remedy}" if verdict.remedy else ""
        raise BackendUnavailable(f"{forced_by} cannot run here: {verdict.reason}{remedy}")
    return Choice(wanted, f"forced by {forced_by}", maker(wanted))


def _choose_best(bounds: Bounds | None, reactors: int) -> Choice:
    uring = judge("io_uring", bounds, reactors)
    if uring.available:
        make = maker("io_uring")
        return Choice("io_uring", f"best here: {uring.reason}", make, is_forced=False)
    return choose_instead(uring)


def choose_instead(uring: Verdict) -> Choice:
    """The best one besides io_uring, which cannot run here for that reason."""
    for name in FALLBACKS:
        if judge(name).available:
            return Choice(name, f"no io_uring: {uring.reason}", maker(name), passed_over=uring)
    raise BackendUnavailable("this system has none of io_uring, epoll, kqueue and select")


def maker(name: str) -> Callable[[Bounds], Backend]:
    """The function that makes a backend of that name."""
    return _make_uring if name == "io_uring" else lambda bounds: _make_fallback(name, bounds)


def _make_uring(bounds: Bounds) -> Backend:
    """Raises BackendUnavailable with the reason and the remedy."""
    from ..uring.backend import UringBackend
    from ..uring.probe import explain_ring

    deadline = monotonic() + _CHARGED_FOR
    while True:
        try:
            return UringBackend(bounds)
        except OSError as error:
            if error.errno != errno.ENOMEM or monotonic() >= deadline:
                _, reason, remedy = explain_ring(error)
                text = f"io_uring cannot run here: {reason}; {remedy}"
                raise BackendUnavailable(text) from error
        sleep(0.01)


def _make_fallback(name: str, bounds: Bounds) -> Backend:
    from ..fallback.backend import FallbackBackend
    from ..fallback.pollers import POLLERS

    return FallbackBackend(POLLERS[name](), bounds)


def probe_uring() -> Probe:
    """All that is known about io_uring on this machine."""
    from ..uring.probe import probe

    return probe()


def _judge_uring(bounds: Bounds, reactors: int) -> Verdict:
    found = probe_uring()
    if found.available:
        from ..uring.probe import try_rings

        found = try_rings(found, bounds, reactors)
    return Verdict("io_uring", found.available, found.reason, found.remedy)


def _judge_fallback(name: str) -> Verdict:
    from ..fallback.pollers import why_not

    missing = why_not(name)
    return Verdict(name, missing is None, missing or "the system has it")
