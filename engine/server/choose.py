"""The chooser: which backend an engine gets, and why. The only module that imports a backend.

It imports lazily: if a fallback is forced, no io_uring system call is made.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING

from ...completion import Bounds
from ..base.contract import Backend
from ..base.errors import BackendUnavailable
from ..base.options import BACKENDS, check_choice

if TYPE_CHECKING:
    from ...uring.probe import Probe

VARIABLE = "RINGNET_BACKEND"
FALLBACKS = ("epoll", "kqueue", "select")  # from the best
# Seconds until the kernel no longer charges the memory of closed rings to the user.
_CHARGED_FOR = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a backend can run here. If it cannot, `remedy` says what would help."""

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


def judge(name: str) -> Verdict:
    """Whether a backend can run here, found out by trying what a reactor would use."""
    return _try_rings(Bounds(), 1) if name == "io_uring" else _without_trying(name)


def choose(wanted: str) -> Choice:
    """The backend for the option's value; `RINGNET_BACKEND` replaces `auto`.

    Raises BackendUnavailable, with the reason and the remedy, if a named backend cannot run, and
    OptionError if the variable has an unknown value.
    """
    forced_by = f"backend={wanted!r}"
    if wanted == "auto" and os.environ.get(VARIABLE):
        wanted = check_choice(VARIABLE, os.environ[VARIABLE], BACKENDS)
        forced_by = f"{VARIABLE}={wanted}"
    if wanted == "auto":
        return _choose_best()
    forced = Choice(wanted, f"forced by {forced_by}", maker(wanted))
    verdict = _without_trying(wanted)
    if not verdict.available:
        raise _unavailable(forced, verdict)
    return forced


def confirm(choice: Choice, bounds: Bounds, reactors: int) -> Choice:
    """The choice, if all the reactors can have it with these bounds; otherwise the next best.

    Raises BackendUnavailable as `choose`.
    """
    if choice.name != "io_uring":
        return choice
    verdict = _try_rings(bounds, reactors)
    if verdict.available:
        return choice
    if choice.is_forced:
        raise _unavailable(choice, verdict)
    return choose_instead(verdict)


def _unavailable(forced: Choice, verdict: Verdict) -> BackendUnavailable:
    remedy = f"; {verdict.remedy}" if verdict.remedy else ""
    by = forced.reason.removeprefix("forced by ")
    return BackendUnavailable(f"{by} cannot run here: {verdict.reason}{remedy}")


def _choose_best() -> Choice:
    uring = _without_trying("io_uring")
    if uring.available:
        make = maker("io_uring")
        return Choice("io_uring", f"best here: {uring.reason}", make, is_forced=False)
    return choose_instead(uring)


def choose_instead(uring: Verdict) -> Choice:
    """The best backend other than io_uring, which cannot run here."""
    for name in FALLBACKS:
        if _without_trying(name).available:
            return Choice(name, f"no io_uring: {uring.reason}", maker(name), passed_over=uring)
    raise BackendUnavailable("this system has neither io_uring nor epoll, kqueue or select")


def maker(name: str) -> Callable[[Bounds], Backend]:
    """The function that creates a backend of that name."""
    return _make_uring if name == "io_uring" else lambda bounds: _make_fallback(name, bounds)


def _make_uring(bounds: Bounds) -> Backend:
    """Raises BackendUnavailable with the reason and the remedy."""
    from ...uring.backend import UringBackend
    from ...uring.probe import explain_ring

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
    from ...fallback.backend import FallbackBackend
    from ...fallback.pollers import POLLERS

    return FallbackBackend(POLLERS[name](), bounds)


def probe_uring() -> Probe:
    """What is known about io_uring on this machine."""
    from ...uring.probe import probe

    return probe()


def _try_rings(bounds: Bounds, count: int) -> Verdict:
    found = probe_uring()
    if found.available:
        from ...uring.probe import try_rings

        found = try_rings(found, bounds, count)
    return Verdict("io_uring", found.available, found.reason, found.remedy)


def _without_trying(name: str) -> Verdict:
    """Whether a backend can run, as far as it is known without creating one."""
    if name == "io_uring":
        found = probe_uring()
        return Verdict(name, found.available, found.reason, found.remedy)
    from ...fallback.pollers import why_not

    missing = why_not(name)
    return Verdict(name, missing is None, missing or "the system has it")
