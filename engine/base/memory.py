"""How much freed memory the C library keeps for the next turn.

A turn creates bytes objects and frees them at its end. By default glibc returns a few hundred
kilobytes of that to the system at once, and every page must be mapped and zeroed again: with
messages of 64 KiB that caused 75,000 page faults a second. The setting applies to the whole
process. Free-threaded CPython has an allocator of its own, mimalloc, which is not affected.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache

_TRIM_THRESHOLD = -1  # M_TRIM_THRESHOLD of mallopt(3)
_MMAP_THRESHOLD = -3  # M_MMAP_THRESHOLD
_LARGEST_THRESHOLD = 32 << 20  # bytes: glibc accepts no larger mmap threshold
_OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed(count: int) -> bool:
    """Let the C library keep `count` bytes of freed memory. Returns whether it will.

    It will not if the environment has settings of its own, if the C library is not glibc, or if
    `count` is 0.
    """
    if not count or any(name in os.environ for name in _OWN_SETTINGS) or not _has_glibc():
        return False
    mallopt = _c_library().mallopt
    # Larger blocks are separate mappings, and are returned as soon as they are freed.
    mappings = min(max(count // 4, 128 << 10), _LARGEST_THRESHOLD)
    return bool(mallopt(_TRIM_THRESHOLD, count) and mallopt(_MMAP_THRESHOLD, mappings))


@cache
def _c_library() -> ctypes.CDLL:
    """Loaded once: ctypes creates classes for each instance and never frees some of them."""
    return ctypes.CDLL(None)


def _has_glibc() -> bool:
    if not sys.platform.startswith("linux"):
        return False
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (ValueError, OSError):
        return False
