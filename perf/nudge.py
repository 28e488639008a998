"""Waking a process from outside, by its eventfds.

valgrind runs one thread at a time, and does not know that io_uring_enter(2) may block: a reactor
that waits there keeps the main thread, which is still starting the engine, from ever waking it.
So somebody else has to, until it serves.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

PIDFD_GETFD = 438  # the number of the system call, on every architecture that is not Alpha
EVENTFD = "anon_inode:[eventfd]"


def nudge(pid: int) -> None:
    """Write to each eventfd of a child process. Raises OSError where that is not allowed."""
    process = os.pidfd_open(pid)
    try:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(link) == EVENTFD:
                _write(process, int(link.name))
    finally:
        os.close(process)


def _write(process: int, theirs: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    ours = libc.syscall(PIDFD_GETFD, process, theirs, 0)
    if ours < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"pidfd_getfd: {os.strerror(number)}")
    try:
        os.eventfd_write(ours, 1)
    finally:
        os.close(ours)
