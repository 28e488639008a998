"""How much freed memory the C library keeps for the next turn.

A turn makes bytes objects and frees them at its end. By its defaults glibc gives some hundred
kilobytes of that back to the system at once, and every page has to be had, and zeroed, again: with
messages of 64 KiB that was 75,000 page faults a second. The setting is the process's, as is the
memory. Free-threaded CPython has an allocator of its own, mimalloc, which this does not reach.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD of mallopt(3)
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD
_LARGEST_THRESHOLD = 32 << 20  # bytes: glibc takes no larger mmap threshold
_OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed(count: int) -> bool:
    """Let the C library keep `count` bytes that were freed; whether it does.

    It does not where the process was told something else by its environment, where the C library
    is not glibc, and with 0 bytes.
    """
    if not count or any(name in os.environ for name in _OWN_SETTINGS) or not _has_glibc():
        return False
    mallopt = _c_library().mallopt
    # Larger blocks are mappings of their own, and go back as soon as they are freed.
    mappings = min(max(count // 4, 128 << 10), _LARGEST_THRESHOLD)
    return bool(mallopt(_TRIM_THRESHOLD, count) and mallopt(_MMAP_THRESHOLD, mappings))


@cache
def _c_library() -> ctypes.CDLL:
    """Once: ctypes makes classes for each, and does not forget all of them."""
    return ctypes.CDLL(None)


def _has_glibc() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):
        return False
