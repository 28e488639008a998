"""Which event loop the calling thread runs, and on which CPU."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

_here = threading.local()


def set_current(loop: Any) -> None:
    """Note that the calling thread runs this event loop from now on; None: no loop."""
    _here.loop = loop


def current_loop() -> Any:
    """The event loop that the calling thread runs; None elsewhere."""
    return getattr(_here, "loop", None)


def pin_thread(cpus: Sequence[int], number: int) -> None:
    """Pin the calling thread, which is a reactor's, to its CPU, if any are given."""
    if not cpus:
        return
    cpu = cpus[number % len(cpus)]
    try:
        os.sched_setaffinity(0, {cpu})  # of the calling thread
    except (OSError, AttributeError) as error:
        code = getattr(error, "errno", errno.ENOSYS)
        raise OSError(code, f"cpus: reactor {number} cannot run on CPU {cpu}") from error


@contextmanager
def borrowed_thread() -> Iterator[None]:
    """Let a reactor run on the calling thread, and restore the thread's state afterwards."""
    before = current_loop()
    has_cpus = hasattr(os, "sched_getaffinity")
    cpus = os.sched_getaffinity(0) if has_cpus else set()
    try:
        yield
    finally:
        set_current(before)
        if has_cpus and os.sched_getaffinity(0) != cpus:
            os.sched_setaffinity(0, cpus)
